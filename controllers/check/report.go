// Package check tells what becomes of a campaign before anybody applies it: it checks manifests and lists as the API server
// and the controller do, with the controller's own code, and makes the mail to one recipient as a worker does.
package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cartero-mail/cartero/internal/manifest"
)

// Severity says what a finding means.
type Severity string

// The severities.
const (
	// Error: the campaign would be refused, or stall.
	Error Severity = "error"
	// Warning: it would be sent, but probably not as it was meant; or something could not be checked.
	Warning Severity = "warning"
	// Note: nothing is wrong; it is good to know.
	Note Severity = "note"
)

// Finding is one thing that was found.
type Finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Severity Severity `json:"severity"`
	// Rule is a CamelCase word for the kind of finding: a Rule constant, or the condition reason that the campaign would
	// stall with.
	Rule string `json:"rule"`
	// Path is the field, such as spec.message.subject; empty for none.
	Path    string `json:"path"`
	Message string `json:"message"`
}

// The rules, beside the condition reasons of the API.
const (
	RuleInvalidYAML      = "InvalidYAML"      // a file can't be understood
	RuleInvalidField     = "InvalidField"     // the API server would refuse the object
	RuleUnknownField     = "UnknownField"     // kubectl would refuse the object; other clients lose the field
	RuleTooLarge         = "TooLarge"         // the object is too large for the API server, or for kubectl apply
	RuleNotChecked       = "NotChecked"       // something is not among the files
	RuleIgnored          = "Ignored"          // an object that means nothing to campaigns
	RuleNoCampaign       = "NoCampaign"       // there was nothing to check
	RuleDefaultSender    = "DefaultSender"    // the operator's sender is used
	RuleUnsubscribe      = "Unsubscribe"      // recipients may find no way to unsubscribe
	RuleImageNotShown    = "ImageNotShown"    // an image that mail programs won't show
	RuleNotATemplate     = "NotATemplate"     // braces that are sent as they are
	RuleBlankVariable    = "BlankVariable"    // recipients who have a variable that is blank
	RuleInvalidAddress   = "InvalidAddress"   // entries that are left out
	RuleDuplicateAddress = "DuplicateAddress" // entries that are left out, as they were there before
	RuleLargeMessage     = "LargeMessage"     // mail programs cut it, or servers refuse it
)

// Campaign is what was found out about one of them.
type Campaign struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// ListChecked tells that the whole list was read; the counts are 0 without.
	ListChecked bool  `json:"listChecked"`
	Recipients  int64 `json:"recipients"`
	Duplicates  int64 `json:"duplicates"`
	Invalid     int64 `json:"invalid"`
	// MessageBytes is the size of the mail to the first recipient; 0 where it could not be made.
	MessageBytes int `json:"messageBytes"`
}

// Report is what linting came to. Its JSON is stable: fields may be added, never changed.
type Report struct {
	// Version is that of the JSON, 1.
	Version   int        `json:"version"`
	Errors    int        `json:"errors"`
	Warnings  int        `json:"warnings"`
	Notes     int        `json:"notes"`
	Findings  []Finding  `json:"findings"`
	Campaigns []Campaign `json:"campaigns"`
}

// newReport sorts and counts the findings.
func newReport(findings []Finding, campaigns []Campaign) *Report {
	r := &Report{Version: 1, Findings: findings, Campaigns: campaigns}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	for _, f := range r.Findings {
		switch f.Severity {
		case Error:
			r.Errors++
		case Warning:
			r.Warnings++
		case Note:
			r.Notes++
		}
	}
	return r
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	out := *r
	out.Findings = append([]Finding{}, r.Findings...) // an empty list, not null
	out.Campaigns = append([]Campaign{}, r.Campaigns...)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}

// WriteText writes a line for each finding, as compilers do, and one for each campaign.
func (r *Report) WriteText(w io.Writer) error {
	var text strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&text, "%s:%d:%d: %s: ", f.File, f.Line, f.Column, f.Severity)
		if f.Path != "" {
			text.WriteString(f.Path + ": ")
		}
		text.WriteString(f.Message + " [" + f.Rule + "]\n")
	}
	for _, c := range r.Campaigns {
		fmt.Fprintf(&text, "%s: ", c.Name)
		switch {
		case !c.ListChecked:
			text.WriteString("the list was not checked")
		case c.Recipients == 1:
			text.WriteString("1 recipient")
		default:
			fmt.Fprintf(&text, "%d recipients", c.Recipients)
		}
		if c.Duplicates+c.Invalid > 0 {
			fmt.Fprintf(&text, " (left out: %d duplicate, %d invalid)", c.Duplicates, c.Invalid)
		}
		if c.MessageBytes > 0 {
			fmt.Fprintf(&text, ", %d bytes a mail", c.MessageBytes)
		}
		text.WriteString("\n")
	}
	fmt.Fprintf(&text, "%s, %s, %s.\n", count(r.Errors, "error"), count(r.Warnings, "warning"), count(r.Notes, "note"))
	_, err := io.WriteString(w, text.String())
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// at is a finding at a place.
func at(p manifest.Position, severity Severity, rule, path, format string, args ...any) Finding {
	return Finding{
		File: p.File, Line: p.Line, Column: p.Column, Severity: severity, Rule: rule, Path: path, Message: fmt.Sprintf(format, args...),
	}
}
