package check

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/controllers"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/fetch"
	"github.com/cartero-mail/cartero/internal/mail/compose"
	"github.com/cartero-mail/cartero/internal/manifest"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// Bounds of what is told of a list.
const (
	maxShownLines = 5
	maxGroups     = 50
)

// group are recipients of whom the same is to be said.
type group struct {
	err       error
	variable  string // that is blank; empty for an error
	count     int64
	lines     []int
	addresses []string
}

func (g *group) add(line int, address string) {
	g.count++
	if len(g.lines) < maxShownLines {
		g.lines, g.addresses = append(g.lines, line), append(g.addresses, address)
	}
}

// groups are kept in the order in which they came up.
type groups struct {
	all    []*group
	byText map[string]*group
}

func (g *groups) of(text string) *group {
	if known := g.byText[text]; known != nil {
		return known
	}
	if len(g.all) == maxGroups {
		return &group{}
	}
	if g.byText == nil {
		g.byText = map[string]*group{}
	}
	fresh := &group{}
	g.byText[text], g.all = fresh, append(g.all, fresh)
	return fresh
}

// checkList reads the whole list, and checks the message for everybody in it.
func (s *subject) checkList(ctx context.Context) error {
	if s.withoutList {
		return nil
	}
	list, closeList, err := s.list(ctx)
	if err != nil {
		if controllers.StallReason(err) == "" {
			return err
		}
		s.fault(err)
		return nil
	}
	return errors.Join(s.readList(ctx, list), closeList())
}

func (s *subject) readList(ctx context.Context, list *recipients.List) error {
	var found groups
	var first *campaign.Recipient
	required := s.requiredVariables()
	for {
		recipient, err := list.Next(ctx)
		if isEnd(err) {
			break
		}
		if err != nil {
			return s.brokenList(err)
		}
		if first == nil {
			first = &recipient
		}
		if s.template == nil {
			continue
		}
		if err := s.rehearsal.Check(recipient); err != nil {
			g := found.of(err.Error())
			g.err = err
			g.add(list.Line(), recipient.Address)
		}
		for _, name := range required {
			if value, given := recipient.Variables[name]; given && strings.TrimSpace(value) == "" {
				g := found.of("blank " + name)
				g.variable = name
				g.add(list.Line(), recipient.Address)
			}
		}
	}
	s.summarize(list, first)
	for _, g := range found.all {
		s.reportGroup(g)
	}
	return nil
}

// requiredVariables are those whose place would be empty in a mail if they were blank.
func (s *subject) requiredVariables() []string {
	if s.template == nil {
		return nil
	}
	var names []string
	for _, v := range s.template.Program().Variables() {
		if v.Required && !v.BuiltIn {
			names = append(names, v.Name)
		}
	}
	return names
}

// summarize counts, and reports what was dropped.
func (s *subject) summarize(list *recipients.List, first *campaign.Recipient) {
	sum := list.Summary()
	s.summary.ListChecked = true
	s.summary.Recipients, s.summary.Duplicates, s.summary.Invalid = sum.Accepted, sum.Duplicates, sum.Invalid
	for _, dropped := range list.Dropped() {
		p, path := s.entry(dropped.Lines[0])
		if reason := recipients.Reason(dropped.Reason); reason == recipients.ReasonDuplicate {
			s.findings = append(s.findings, at(p, Note, RuleDuplicateAddress, path, "%s: %s",
				s.who(dropped.Count, dropped.Lines, "is", "are")+" left out", reason.Text()))
		} else {
			s.findings = append(s.findings, at(p, Warning, RuleInvalidAddress, path, "%s: %s",
				s.who(dropped.Count, dropped.Lines, "is", "are")+" left out, as the address can't be mailed", reason.Text()))
		}
	}
	switch {
	case sum.Rows == 0:
		s.report(Error, v1alpha1.ReasonInvalidRecipients, s.listPath(), "the list is empty: it has no entries")
	case sum.Accepted == 0:
		s.report(Error, v1alpha1.ReasonInvalidRecipients, s.listPath(), "the list has no address that can be mailed")
	default:
		s.measure(*first)
	}
}

// listPath is the field that names the list.
func (s *subject) listPath() string {
	switch spec := s.object.Spec.Recipients; {
	case spec.Inline != nil:
		return "spec.recipients.inline"
	case spec.ConfigMapKeyRef != nil:
		return "spec.recipients.configMapKeyRef"
	case spec.SecretKeyRef != nil:
		return "spec.recipients.secretKeyRef"
	default:
		return urlPath
	}
}

// brokenList reports a list that can't be read to its end.
func (s *subject) brokenList(err error) error {
	if syntax, ok := errors.AsType[*recipients.SyntaxError](err); ok {
		p, path := s.entry(syntax.Line)
		reason := syntax.Reason
		if path == urlPath { // the place is that of the URL
			reason = syntax.Error()
		}
		s.findings = append(s.findings, at(p, Error, v1alpha1.ReasonInvalidRecipients, s.listPath(), "%s", reason))
		return nil
	}
	if read, ok := errors.AsType[*fetch.Error](err); ok {
		s.report(Error, v1alpha1.ReasonFetchFailed, s.listPath(), "can't be read: %v", read)
		return nil
	}
	return fmt.Errorf("reading the list: %w", err)
}

// reportGroup reports what some recipients have in common: in the message if it is everybody, else in the list.
func (s *subject) reportGroup(g *group) {
	line, path := s.entry(g.lines[0])
	whom := s.whom(g)
	if g.variable != "" {
		s.findings = append(s.findings, at(line, Warning, RuleBlankVariable, path,
			"the variable %q is blank for %s, and nothing stands in its place: give a default: {{%s}}{{^%s}}default{{/%s}}",
			g.variable, whom, g.variable, g.variable, g.variable))
		return
	}
	message := g.err.Error()
	if invalid, ok := errors.AsType[*compose.InvalidError](g.err); ok {
		var template manifest.Position
		var templatePath string
		template, templatePath, message = s.place(invalid)
		if g.count == s.summary.Recipients {
			line, path = template, templatePath
		} else {
			message = fmt.Sprintf("%s (%s:%d): %s", templatePath, template.File, template.Line, message)
		}
	}
	s.findings = append(s.findings, at(line, Error, v1alpha1.ReasonInvalidTemplate, path, "for %s: %s", whom, message))
}

// whom says for which recipients.
func (s *subject) whom(g *group) string {
	if g.count == s.summary.Recipients && g.count > 1 {
		return fmt.Sprintf("all %d recipients", g.count)
	}
	text := s.who(g.count, g.lines, "", "")
	if s.options.ShowAddresses {
		text += " (" + strings.Join(g.addresses, ", ") + ")"
	}
	return text
}

// who names entries of the list by their lines.
func (s *subject) who(count int64, lines []int, is, are string) string {
	line := "line"
	if s.object.Spec.Recipients.Inline != nil {
		line = "entry"
	}
	if count == 1 {
		return strings.TrimSpace(fmt.Sprintf("%s %d %s", line, lines[0], is))
	}
	shown := make([]string, 0, maxShownLines+1)
	for _, n := range lines[:min(len(lines), maxShownLines)] {
		shown = append(shown, strconv.Itoa(n))
	}
	if count > int64(len(shown)) {
		shown = append(shown, "…")
	}
	return strings.TrimSpace(fmt.Sprintf("%d recipients (%s) %s", count, plural(line)+" "+strings.Join(shown, ", "), are))
}

func plural(word string) string {
	if stem, isY := strings.CutSuffix(word, "y"); isY {
		return stem + "ies"
	}
	return word + "s"
}

// measure makes the mail to the first recipient, to know its size.
func (s *subject) measure(first campaign.Recipient) {
	if s.template == nil || s.rehearsal.Check(first) != nil {
		return
	}
	mail, err := s.template.Append(nil, s.rehearsal.MailTo(first))
	if err != nil {
		return // the recipient's own matter: Check lets an address or name be that can't be written
	}
	s.summary.MessageBytes = len(mail.Raw)
	s.checkSize()
}
