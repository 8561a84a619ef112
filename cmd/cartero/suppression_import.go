package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/recipients"
)

const (
	// maxImportLine bounds a line of an imported file, in bytes.
	maxImportLine = 64 << 10
	// shownLines is how many line numbers are told for each reason.
	shownLines = 10
)

// imported is what an import came to.
type imported struct {
	DryRun bool `json:"dryRun"`
	// Entries are the lines that are entries; Added of them were not on the list, Known were, or came before in the file.
	Entries int64 `json:"entries"`
	Added   int64 `json:"added"`
	Known   int64 `json:"known"`
	// Invalid lines are no entries.
	Invalid int64              `json:"invalid"`
	Dropped []campaign.Dropped `json:"dropped"`
}

// importer reads a file of suppressions.
type importer struct {
	suppressionAdmin
	separator rune           // of the columns; 0 before the first line
	columns   map[string]int // where each column is
	result    imported
	dropped   map[string]*campaign.Dropped
	batch     []campaign.Suppression
	// seen are the entries of a dry run, which adds none that the next line could find.
	seen map[uint64]bool
	seed maphash.Seed
}

func (a suppressionAdmin) importFile(ctx context.Context) (err error) {
	file := os.Stdin
	if a.call.argument != "-" {
		if file, err = os.Open(a.call.argument); err != nil {
			return fmt.Errorf("opening the file: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
	}
	in := &importer{
		suppressionAdmin: a, dropped: map[string]*campaign.Dropped{}, seen: map[uint64]bool{}, seed: maphash.MakeSeed(),
		result: imported{DryRun: a.call.dryRun, Dropped: []campaign.Dropped{}},
	}
	if err := in.read(ctx, file); err != nil {
		return fmt.Errorf("%d entries were imported, then: %w", in.result.Entries, err)
	}
	if err := in.report(); err != nil {
		return err
	}
	if in.result.Invalid > 0 {
		return fmt.Errorf("not all lines are entries: %d were left out", in.result.Invalid)
	}
	return nil
}

// read imports line by line: no entry has a line break in it, and a quote that is not closed costs one line.
func (in *importer) read(ctx context.Context, file io.Reader) error {
	content, err := recipients.Text(file)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(content)
	lines.Buffer(make([]byte, 0, maxImportLine), maxImportLine)
	number := 1
	for ; lines.Scan(); number++ {
		text := lines.Text()
		if strings.TrimSpace(text) == "" {
			continue
		}
		if in.separator == 0 {
			in.separator = recipients.Separator(text)
		}
		fields, err := in.fields(text)
		if err != nil {
			in.drop(reasonSyntax, number)
			continue
		}
		if in.columns == nil {
			named, err := in.header(fields, number)
			if err != nil {
				return err
			}
			if named {
				continue
			}
		}
		entry, reason := in.entry(fields)
		if reason != "" {
			in.drop(reason, number)
			continue
		}
		if in.batch = append(in.batch, entry); len(in.batch) == suppressionPage {
			if err := in.flush(ctx); err != nil {
				return err
			}
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("line %d is longer than %d KiB", number, maxImportLine>>10)
	case err != nil:
		return fmt.Errorf("reading the file: %w", err)
	}
	return in.flush(ctx)
}

func (in *importer) fields(line string) ([]string, error) {
	if !strings.Contains(line, `"`) {
		return strings.Split(strings.TrimSuffix(line, "\r"), string(in.separator)), nil
	}
	reader := csv.NewReader(strings.NewReader(line))
	reader.Comma = in.separator
	return reader.Read()
}

// columnNames are the names of columns beside the address, in lower case.
var columnNames = map[string]string{
	"scope": "scope", "listid": "scope", "reason": "reason", "createdat": "createdAt", "created_at": "createdAt",
}

// header takes the first line, and reports whether it names columns. One that neither does nor begins with an address is
// that of a file whose columns are not known: what is taken for a scope or a reason there would be anything.
func (in *importer) header(fields []string, line int) (named bool, err error) {
	if address := recipients.AddressColumn(fields); address >= 0 {
		in.columns = map[string]int{"address": address}
		for i, field := range fields {
			if name, ok := columnNames[strings.ToLower(strings.TrimSpace(field))]; ok {
				in.columns[name] = i
			}
		}
		return true, nil
	}
	if _, err := recipients.ParseAddress(fields[0]); err != nil {
		return false, fmt.Errorf("line %d neither names the columns nor begins with an address: name the column of the addresses email", line)
	}
	in.columns = map[string]int{"address": 0, "scope": 1, "reason": 2, "createdAt": 3}
	return false, nil
}

// Why a line is no entry, beside the reasons of its address.
const (
	reasonSyntax    = "Syntax"
	reasonScope     = "Scope"
	reasonReason    = "Reason"
	reasonCreatedAt = "CreatedAt"
)

var reasonTexts = map[string]string{
	reasonSyntax: "a quote is not closed, or stands where none may be", reasonScope: "the scope is no listID such as news.example.com",
	reasonReason:    "the reason is none of BadMailbox, Disabled, MailboxFull, Complaint, Unsubscribed and Manual",
	reasonCreatedAt: "the time is not written like 2026-03-04T05:06:07Z or 2026-03-04 05:06:07",
}

// reasonText says why a line is no entry.
func reasonText(reason string) string {
	if text, ok := reasonTexts[reason]; ok {
		return text
	}
	return "of the address: " + recipients.Reason(reason).Text()
}

// parseTime reads a time as programs export it; without a zone, it is UTC.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.DateTime, "2006-01-02T15:04:05", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Parse(time.RFC3339, text)
}

// entry is what a line says, or why it is none.
func (in *importer) entry(fields []string) (entry campaign.Suppression, reason string) {
	field := func(name string) string {
		if i, ok := in.columns[name]; ok && i < len(fields) {
			return strings.TrimSpace(fields[i])
		}
		return ""
	}
	address, err := recipients.ParseAddress(field("address"))
	if err != nil {
		return entry, string(recipients.ReasonOf(err))
	}
	entry = campaign.Suppression{
		SuppressionKey: campaign.SuppressionKey{Address: recipients.Key(address), Scope: in.call.scope},
		Reason:         in.call.reason, Source: "cartero suppression import", CreatedAt: in.now,
	}
	if text := field("scope"); text != "" {
		var ok bool
		if entry.Scope, ok = parseScope(text); !ok {
			return entry, reasonScope
		}
	}
	if text := field("reason"); text != "" {
		var ok bool
		if entry.Reason, ok = parseReason(text); !ok {
			return entry, reasonReason
		}
	}
	if text := field("createdAt"); text != "" {
		if entry.CreatedAt, err = parseTime(text); err != nil {
			return entry, reasonCreatedAt
		}
	}
	return entry, ""
}

func (in *importer) drop(reason string, line int) {
	in.result.Invalid++
	d := in.dropped[reason]
	if d == nil {
		d = &campaign.Dropped{Reason: reason}
		in.dropped[reason] = d
	}
	if d.Count++; len(d.Lines) < shownLines {
		d.Lines = append(d.Lines, line)
	}
}

// flush adds the entries in hand, or counts them.
func (in *importer) flush(ctx context.Context) error {
	var added int
	var err error
	if in.call.dryRun {
		added, err = in.list.UnknownSuppressions(ctx, in.unseen())
	} else {
		added, err = in.list.Suppress(ctx, in.batch)
	}
	if err != nil {
		return err
	}
	in.result.Entries += int64(len(in.batch))
	in.result.Added += int64(added)
	in.result.Known = in.result.Entries - in.result.Added
	in.batch = in.batch[:0]
	return nil
}

// unseen are the keys of the entries in hand that no line before had.
func (in *importer) unseen() []campaign.SuppressionKey {
	var keys []campaign.SuppressionKey
	for _, entry := range in.batch {
		sum := maphash.Comparable(in.seed, entry.SuppressionKey)
		if !in.seen[sum] {
			in.seen[sum] = true
			keys = append(keys, entry.SuppressionKey)
		}
	}
	return keys
}

func (in *importer) report() error {
	reasons := slices.SortedFunc(maps.Values(in.dropped), func(a, b *campaign.Dropped) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Reason, b.Reason))
	})
	for _, d := range reasons {
		in.result.Dropped = append(in.result.Dropped, *d)
	}
	r := in.result
	verb := "were added"
	if r.DryRun {
		verb = "would be added"
	}
	var sentence strings.Builder
	fmt.Fprintf(&sentence, "%d of %d entries %s, %d are there already.", r.Added, r.Entries, verb, r.Known)
	for _, d := range r.Dropped {
		numbers := strings.Trim(fmt.Sprint(d.Lines), "[]")
		fmt.Fprintf(&sentence, "\nLeft out, %s: line %s", reasonText(d.Reason), strings.ReplaceAll(numbers, " ", ", "))
		if d.Count > int64(len(d.Lines)) {
			sentence.WriteString(", …")
		}
	}
	return in.done(sentence.String(), r)
}
