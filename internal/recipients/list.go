package recipients

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// Format is how a list is written.
type Format string

// The formats, named as in the API (spec.recipients.format).
const (
	// CSV: values separated by commas, semicolons, tabs or bars (RFC 4180) with a header line that has a column email, e-mail or
	// address; or a single column of addresses without a header.
	CSV Format = "CSV"
	// JSONLines: one object a line, {"email" or "address", "name", "variables"}.
	JSONLines Format = "JSONLines"
	// Lines: one address a line, plain or as Name <address>; blank lines and lines that begin with # are skipped.
	Lines Format = "Lines"
)

// How many line numbers are kept.
const (
	// MaxInvalidLines is how many of invalid addresses a Summary keeps, whatever their reasons.
	MaxInvalidLines = 100
	// MaxDroppedLines is how many are kept for each reason.
	MaxDroppedLines = 20
)

// Summary is what reading a list came to. Rows = Accepted + Duplicates + Invalid.
type Summary struct {
	// Rows counts the entries, without header, comments and blank lines.
	Rows int64
	// Accepted counts the entries that were handed out.
	Accepted int64
	// Duplicates counts the entries whose address was there before, in whatever spelling.
	Duplicates int64
	// Invalid counts the entries whose address can't be mailed; InvalidLines has the first MaxInvalidLines of their
	// line numbers, counted from 1. A CSV record of several lines is named by its first.
	Invalid      int64
	InvalidLines []int
}

// Entry is one entry of a list as it was written, before any check.
type Entry struct {
	Address   string
	Name      string
	Variables map[string]string
}

// source yields the entries of a list with their line numbers, and io.EOF after the last.
type source interface {
	next() (entry Entry, line int, err error)
}

// List yields the recipients of a list, checked, normalised and without duplicates. It implements campaign.List. It is
// not safe for concurrent use.
type List struct {
	source  source
	header  bool // variables are named once, and their names are checked there
	seen    set
	summary Summary
	dropped []campaign.Dropped // in the order in which the reasons came up
	key     []byte
	line    int
	err     error
}

var _ campaign.List = (*List)(nil)

// New returns the recipients that r has in the given format; the empty format is CSV. A list that is gzip (RFC 1952) is
// decompressed, within gunzip's default limits. Nothing is read before Next.
func New(r io.Reader, format Format) *List {
	lines := newLineReader(r)
	switch format {
	case CSV, "":
		return &List{source: &csvSource{lines: lines}, header: true}
	case JSONLines:
		return &List{source: &jsonSource{lines: lines}}
	case Lines:
		return &List{source: &lineSource{lines: lines}}
	default:
		return &List{err: fmt.Errorf("unknown format %q of a list: use CSV, JSONLines or Lines", format)}
	}
}

// Inline returns the recipients of a list that is part of a manifest or request. Line numbers are positions from 1.
func Inline(entries []Entry) *List { return &List{source: &inlineSource{entries: entries}} }

// Read reads a whole list and calls handle for each recipient. It stops at the first error of the list or of handle.
func Read(r io.Reader, format Format, handle func(campaign.Recipient) error) (Summary, error) {
	list := New(r, format)
	for {
		recipient, err := list.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return list.Summary(), nil
		}
		if err == nil {
			err = handle(recipient)
		}
		if err != nil {
			return list.Summary(), err
		}
	}
}

// Next returns the next recipient, io.EOF after the last one, a *SyntaxError where the list can't be understood, or
// what reading it failed with. After an error it returns the same one again.
func (l *List) Next(ctx context.Context) (campaign.Recipient, error) {
	for l.err == nil {
		if err := ctx.Err(); err != nil {
			return campaign.Recipient{}, err
		}
		entry, line, err := l.source.next()
		if err != nil {
			l.err = err
			break
		}
		l.summary.Rows++
		l.line = line
		address, err := ParseAddress(entry.Address)
		if err != nil {
			l.summary.Invalid++
			if len(l.summary.InvalidLines) < MaxInvalidLines {
				l.summary.InvalidLines = append(l.summary.InvalidLines, line)
			}
			l.drop(ReasonOf(err), line)
			continue
		}
		if !l.add(address) {
			l.summary.Duplicates++
			l.drop(ReasonDuplicate, line)
			continue
		}
		if entry.Name, err = checkEntry(entry, line, l.header); err != nil {
			l.err = err
			break
		}
		l.summary.Accepted++
		return campaign.Recipient{Address: address, Name: entry.Name, Variables: entry.Variables}, nil
	}
	return campaign.Recipient{}, l.err
}

// Line is the line of the entry that Next returned last, counted from 1; of an inline list it is the entry's position.
func (l *List) Line() int { return l.line }

// Summary says what was read so far.
func (l *List) Summary() Summary { return l.summary }

// Totals says how many entries were dropped, and why.
func (l *List) Totals() campaign.Totals {
	return campaign.Totals{
		Duplicates:   l.summary.Duplicates,
		Invalid:      l.summary.Invalid,
		InvalidLines: l.summary.InvalidLines,
		Dropped:      l.Dropped(),
	}
}

// Dropped says for each reason how many entries were dropped and on which lines, the most frequent reason first.
func (l *List) Dropped() []campaign.Dropped {
	dropped := slices.Clone(l.dropped)
	slices.SortStableFunc(dropped, func(a, b campaign.Dropped) int { return cmp.Compare(b.Count, a.Count) })
	return dropped
}

func (l *List) drop(reason Reason, line int) {
	i := slices.IndexFunc(l.dropped, func(d campaign.Dropped) bool { return d.Reason == string(reason) })
	if i < 0 {
		i = len(l.dropped)
		l.dropped = append(l.dropped, campaign.Dropped{Reason: string(reason)})
	}
	d := &l.dropped[i]
	d.Count++
	if len(d.Lines) < MaxDroppedLines {
		d.Lines = append(d.Lines, line)
	}
}

// add adds the address to those that were seen and reports whether it is new. It is Key without its allocation.
func (l *List) add(address string) bool {
	l.key = append(l.key[:0], address...)
	for i, c := range l.key {
		if 'A' <= c && c <= 'Z' {
			l.key[i] = c + 'a' - 'A'
		}
	}
	return l.seen.add(l.key)
}

// checkEntry holds an entry against the bounds of name and variables, and returns the name on one line. named tells that
// the names of the variables were checked before.
func checkEntry(entry Entry, line int, named bool) (string, error) {
	name := cleanName(entry.Name)
	if utf8.RuneCountInString(name) > MaxName {
		return "", syntaxError(line, "the name is longer than %d characters", MaxName)
	}
	if len(entry.Variables) > MaxVariables {
		return "", syntaxError(line, "the entry has more than %d variables", MaxVariables)
	}
	for key, value := range entry.Variables {
		if !named {
			if err := checkVariableKey(key, line); err != nil {
				return "", err
			}
		}
		if len(value) > MaxVariableValue {
			return "", syntaxError(line, "the variable %q is longer than %d bytes", key, MaxVariableValue)
		}
		if strings.IndexByte(value, 0) >= 0 || !utf8.ValidString(value) {
			return "", syntaxError(line, "the variable %q is not text in UTF-8", key)
		}
	}
	return name, nil
}

func checkVariableKey(key string, line int) error {
	switch {
	case key == "":
		return syntaxError(line, "a variable has no name")
	case !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl):
		return syntaxError(line, "the name of a variable has a line break or another control character")
	case utf8.RuneCountInString(key) > MaxVariableKey:
		return syntaxError(line, "the name of a variable is longer than %d characters", MaxVariableKey)
	default:
		return nil
	}
}

// cleanName puts a display name on one line: it goes into a header field. Runs of white space and of control
// characters become one space.
func cleanName(name string) string {
	if !strings.ContainsFunc(name, unicode.IsControl) {
		name = strings.TrimSpace(name)
		if !strings.Contains(name, "  ") {
			return strings.ToValidUTF8(name, "\ufffd")
		}
	}
	words := strings.FieldsFunc(strings.ToValidUTF8(name, "\ufffd"), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	})
	return strings.Join(words, " ")
}
