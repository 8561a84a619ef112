package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/recipients"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

const suppressionSummary = `cartero suppression shows and changes the list of addresses that campaigns leave out:

  cartero suppression list [ADDRESS]    who is on it, and why
  cartero suppression add ADDRESS       puts an address on it
  cartero suppression remove ADDRESS    takes an address off it, with all its entries or that of one --scope
  cartero suppression import FILE       adds the entries of a CSV file; - is the standard input
  cartero suppression export            writes the list as CSV: address,scope,reason,createdAt

  --scope LIST                    only mails of this list (the listID of campaigns); without it, all
  --reason REASON                 of add, and of imported lines without one: BadMailbox, Disabled, MailboxFull, Complaint,
                                  Unsubscribed or Manual (default: Manual)
  --dry-run                       import only counts
  --limit N                       list shows so many (default: 100)
  --output text|json              how it is written (default: text)

Entries that are there already stay as they are, so that an import may be repeated. Lines of a file that are no entry are
counted and left out; all others are imported, and the exit code is 1.

The exit code is 0, 1 if it was not done or not all, 2 if the command line or a setting is wrong`

// suppressionCall is what the command line asks for.
type suppressionCall struct {
	action, argument string
	scope            string
	scoped           bool // a scope was given, be it the empty one
	reason           campaign.SuppressionReason
	limit            int
	dryRun, json     bool
	flags            []string // those of the settings
}

// suppressionAdmin does it.
type suppressionAdmin struct {
	list campaign.Suppressions
	call suppressionCall
	now  time.Time
	out  io.Writer
}

type suppressionAction struct {
	least, most int // arguments
	run         func(suppressionAdmin, context.Context) error
}

func suppressionActions() map[string]suppressionAction {
	return map[string]suppressionAction{
		"list":   {0, 1, suppressionAdmin.show},
		"add":    {1, 1, suppressionAdmin.add},
		"remove": {1, 1, suppressionAdmin.remove},
		"import": {1, 1, suppressionAdmin.importFile},
		"export": {0, 0, suppressionAdmin.export},
	}
}

func runSuppression(ctx context.Context, c cli) (err error) {
	call, wrong := parseSuppressionCall(c.args)
	var database options.Database
	err = options.Command{Name: "suppression", Summary: suppressionSummary + ".", Areas: []options.Area{&database}}.
		Load(call.flags, c.env, c.stdout)
	if invalid, ok := errors.AsType[*options.InvalidError](withProblems(err, wrong)); ok {
		invalid.Command = "suppression"
		return invalid
	} else if err != nil {
		return err
	}
	redact := telemetry.NewRedactor(options.Secrets(&database)...).Redact
	db, err := openStore(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.CheckSchema(ctx); err != nil {
		return errors.New(redact(err.Error()))
	}
	admin := suppressionAdmin{db, call, time.Now(), c.stdout}
	if err := suppressionActions()[call.action].run(admin, ctx); err != nil {
		return errors.New(redact(err.Error())) // a database may quote what it was given
	}
	return nil
}

// scopeText is what a scope looks like: the listID of a campaign.
var scopeText = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)

// parseScope is a scope in lower case; empty for every list.
func parseScope(text string) (string, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	return text, text == "" || len(text) <= 255 && scopeText.MatchString(text)
}

// parseReason finds a reason in any case.
func parseReason(text string) (campaign.SuppressionReason, bool) {
	i := slices.IndexFunc(campaign.SuppressionReasons, func(r campaign.SuppressionReason) bool {
		return strings.EqualFold(string(r), strings.TrimSpace(text))
	})
	if i < 0 {
		return "", false
	}
	return campaign.SuppressionReasons[i], true
}

// parseSuppressionCall takes from the command line what is no setting, and what is wrong with that.
func parseSuppressionCall(args []string) (call suppressionCall, wrong []options.SettingError) {
	call = suppressionCall{limit: 100, reason: campaign.SuppressedManual}
	problem := func(what, message string) {
		wrong = append(wrong, options.SettingError{Variable: what, Message: message})
	}
	own := map[string]func(value string) bool{
		"scope":  func(v string) (ok bool) { call.scope, ok = parseScope(v); call.scoped = true; return ok },
		"reason": func(v string) (ok bool) { call.reason, ok = parseReason(v); return ok },
		"limit": func(v string) bool {
			n, err := strconv.Atoi(v)
			call.limit = n
			return err == nil && n > 0
		},
		"output": func(v string) bool { call.json = v == "json"; return v == "json" || v == "text" },
	}
	accepted := map[string]string{
		"scope": "must be the listID of campaigns, such as news.example.com", "limit": "must be a whole number from 1",
		"reason": "must be BadMailbox, Disabled, MailboxFull, Complaint, Unsubscribed or Manual", "output": "must be text or json",
	}
	var words []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		flag, value, joined := strings.Cut(arg, "=")
		name := strings.TrimLeft(flag, "-")
		set := own[name]
		switch {
		case name == flag || name == "":
			words = append(words, arg)
			continue
		case name == "dry-run" && !joined:
			call.dryRun = true
			continue
		case name == "h" || name == "help" || !joined && len(args) == 0:
			call.flags = append(call.flags, arg)
			continue
		case !joined:
			value, args = args[0], args[1:]
		}
		if set == nil {
			call.flags = append(call.flags, "--"+name+"="+value)
		} else if !set(value) {
			problem("--"+name, accepted[name])
		}
	}
	return call.arguments(words, problem), wrong
}

// arguments takes the words of the command line.
func (call suppressionCall) arguments(words []string, problem func(what, message string)) suppressionCall {
	if len(words) > 0 {
		call.action = words[0]
		words = words[1:]
	}
	action, known := suppressionActions()[call.action]
	switch {
	case !known:
		problem("arguments", "say what to do: list, add ADDRESS, remove ADDRESS, import FILE or export")
	case len(words) < action.least:
		problem("arguments", call.action+" needs an argument: an address, or with import a file")
	case len(words) > action.most:
		problem("arguments", "there are too many")
	case len(words) == 1:
		call.argument = words[0]
	}
	if call.dryRun && call.action != "import" {
		problem("--dry-run", "is for import only")
	}
	if address := call.action == "add" || call.action == "remove" || call.action == "list"; address && call.argument != "" {
		parsed, err := recipients.ParseAddress(call.argument)
		if err != nil {
			problem("ADDRESS", err.Error())
		}
		call.argument = parsed
	}
	return call
}

// entryText is an entry as --output json writes it.
type entryText struct {
	Address   string                     `json:"address"`
	Scope     string                     `json:"scope"`
	Reason    campaign.SuppressionReason `json:"reason"`
	Source    string                     `json:"source"`
	CreatedAt time.Time                  `json:"createdAt"`
}

func textOf(e campaign.Suppression) entryText {
	return entryText{e.Address, e.Scope, e.Reason, e.Source, e.CreatedAt.UTC()}
}

func (a suppressionAdmin) writeJSON(value any) error {
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// done reports what was done: a sentence, or an object.
func (a suppressionAdmin) done(sentence string, object any) error {
	if a.call.json {
		return a.writeJSON(object)
	}
	_, err := fmt.Fprintln(a.out, sentence)
	return err
}

// suppressionPage bounds the entries that are read or written at a time.
const suppressionPage = 1000

// each calls visit for the entries that are asked for, in their order, until it returns false.
func (a suppressionAdmin) each(ctx context.Context, visit func(campaign.Suppression) (more bool, err error)) error {
	var after campaign.SuppressionKey
	for {
		page, err := a.list.Suppressions(ctx, a.call.argument, after, suppressionPage)
		if err != nil {
			return err
		}
		for _, entry := range page {
			if a.call.scoped && entry.Scope != a.call.scope {
				continue
			}
			if more, err := visit(entry); err != nil || !more {
				return err
			}
		}
		if len(page) < suppressionPage {
			return nil
		}
		after = page[len(page)-1].SuppressionKey
	}
}

func (a suppressionAdmin) show(ctx context.Context) error {
	entries, more := []entryText{}, false
	err := a.each(ctx, func(e campaign.Suppression) (bool, error) {
		if more = len(entries) == a.call.limit; !more {
			entries = append(entries, textOf(e))
		}
		return !more, nil
	})
	if err != nil {
		return err
	}
	if a.call.json {
		return a.writeJSON(map[string]any{"entries": entries, "more": more})
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ADDRESS\tSCOPE\tREASON\tSINCE\tSOURCE")
	for _, e := range entries {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.Address, scopeName(e.Scope), e.Reason, e.CreatedAt.Format(time.DateTime), e.Source)
	}
	if more {
		fmt.Fprintln(w, "… and more: give --limit, or export them")
	}
	return w.Flush()
}

// scopeName says what a scope is to people.
func scopeName(scope string) string {
	if scope == "" {
		return "everything"
	}
	return scope
}

func (a suppressionAdmin) add(ctx context.Context) error {
	key := campaign.SuppressionKey{Address: a.call.argument, Scope: a.call.scope}
	added, err := a.list.Suppress(ctx, []campaign.Suppression{{
		SuppressionKey: key, Reason: a.call.reason, Source: "cartero suppression add", CreatedAt: a.now,
	}})
	if err != nil {
		return err
	}
	sentence := "The address was on the list already: the entry stays as it is."
	if added > 0 {
		sentence = "The address is on the list: it gets nothing of " + scopeName(a.call.scope) + " any more."
	}
	return a.done(sentence, map[string]any{"added": added})
}

func (a suppressionAdmin) remove(ctx context.Context) error {
	var keys []campaign.SuppressionKey
	var reasons []string
	err := a.each(ctx, func(e campaign.Suppression) (bool, error) {
		keys = append(keys, e.SuppressionKey)
		reasons = append(reasons, fmt.Sprintf("%s for %s", e.Reason, scopeName(e.Scope)))
		return true, nil
	})
	if err != nil {
		return err
	}
	removed, err := a.list.Unsuppress(ctx, keys)
	if err != nil {
		return err
	}
	sentence := "The address was not on the list."
	if removed > 0 {
		sentence = "The address is off the list, where it was as " + strings.Join(reasons, ", ") + "."
	}
	return a.done(sentence, map[string]any{"removed": removed})
}

// csvTime is how times are written in CSV: RFC 3339, with milliseconds.
const csvTime = "2006-01-02T15:04:05.000Z"

func (a suppressionAdmin) export(ctx context.Context) error {
	w := csv.NewWriter(a.out)
	if err := w.Write([]string{"address", "scope", "reason", "createdAt"}); err != nil {
		return err
	}
	err := a.each(ctx, func(e campaign.Suppression) (bool, error) {
		return true, w.Write([]string{e.Address, e.Scope, string(e.Reason), e.CreatedAt.UTC().Format(csvTime)})
	})
	w.Flush()
	return errors.Join(err, w.Error())
}
