package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/manifest"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// Whom says which mail is previewed. The zero value is the first recipient of the only campaign.
type Whom struct {
	// Campaign is the name of the campaign; empty where there is one only.
	Campaign string
	// Address is the recipient's, and Line the line of the list, from 1; both are the zero value for the first recipient.
	Address string
	Line    int
}

// Preview is a mail as a worker would make it.
type Preview struct {
	// Raw is the message.
	Raw []byte
	// Sample tells that there was no list: the recipient is made up, and each variable stands for itself.
	Sample bool
}

// RefusedError is a campaign of which no mail can be made.
type RefusedError struct {
	// Report has what is wrong.
	Report *Report
}

func (e *RefusedError) Error() string {
	var text strings.Builder
	text.WriteString("no mail can be made of this campaign:")
	for _, f := range e.Report.Findings {
		if f.Severity == Error {
			fmt.Fprintf(&text, "\n  %s:%d:%d: %s: %s", f.File, f.Line, f.Column, f.Path, f.Message)
		}
	}
	return text.String()
}

// Errors of Make.
var (
	ErrNoSuchCampaign  = errors.New("the files have no such campaign")
	ErrWhichCampaign   = errors.New("the files have several campaigns: say which one with --campaign")
	ErrNoSuchRecipient = errors.New("the list has no such recipient")
	ErrNobody          = errors.New("the list has nobody that can be mailed")
	ErrWithoutList     = errors.New("the list is not among the files: give its file too, or name the list with --list")
)

// Make makes the mail to one recipient. It fails with *RefusedError where the campaign is at fault.
func Make(ctx context.Context, set *manifest.Set, options Options, whom Whom) (*Preview, error) {
	document, err := choose(set, whom.Campaign)
	if err != nil {
		return nil, err
	}
	s := newSubject(options, set, document)
	if s.admit(ctx) {
		s.accept(ctx)
	}
	if s.template == nil {
		for _, err := range set.Problems {
			if problem, ok := errors.AsType[*manifest.Error](err); ok {
				s.findings = append(s.findings, at(problem.Position, Error, RuleInvalidYAML, "", "%s", problem.Reason))
			}
		}
		for i := range s.findings { // what is not among the files keeps the mail from being made
			if s.findings[i].Rule == RuleNotChecked {
				s.findings[i].Severity = Error
			}
		}
		return nil, &RefusedError{newReport(s.findings, nil)}
	}
	recipient, sample, err := s.choose(ctx, whom)
	if err != nil {
		return nil, err
	}
	if err := s.rehearsal.Check(recipient); err != nil {
		s.fault(err)
		return nil, &RefusedError{newReport(s.findings, nil)}
	}
	made, err := s.template.Append(nil, s.rehearsal.MailTo(recipient))
	if err != nil {
		s.fault(err)
		return nil, &RefusedError{newReport(s.findings, nil)}
	}
	return &Preview{Raw: made.Raw, Sample: sample}, nil
}

func choose(set *manifest.Set, name string) (*manifest.Document, error) {
	if name == "" && len(set.Campaigns) > 1 {
		return nil, fmt.Errorf("%w: %s", ErrWhichCampaign, names(set))
	}
	i := slices.IndexFunc(set.Campaigns, func(d *manifest.Document) bool { return name == "" || d.Name == name })
	switch {
	case i >= 0:
		return set.Campaigns[i], nil
	case len(set.Campaigns) > 0:
		return nil, errors.Join(append([]error{fmt.Errorf("%w: there is only %s", ErrNoSuchCampaign, names(set))}, set.Problems...)...)
	default:
		return nil, errors.Join(append([]error{ErrNoSuchCampaign}, set.Problems...)...)
	}
}

// names are those of the campaigns, as far as one wants to read them.
func names(set *manifest.Set) string {
	const most = 20
	var all []string
	for _, d := range set.Campaigns {
		if len(all) == most {
			all = append(all, "…")
			break
		}
		all = append(all, d.Name)
	}
	return strings.Join(all, ", ")
}

// choose returns the recipient, and whether it is made up.
func (s *subject) choose(ctx context.Context, whom Whom) (recipient campaign.Recipient, sample bool, err error) {
	if s.withoutList {
		if whom.Address != "" || whom.Line != 0 {
			return recipient, false, ErrWithoutList
		}
		return s.rehearsal.Sample(), true, nil
	}
	wanted := ""
	if whom.Address != "" {
		address, err := recipients.ParseAddress(whom.Address)
		if err != nil {
			return recipient, false, fmt.Errorf("--recipient: %w", err)
		}
		wanted = recipients.Key(address)
	}
	list, closeList, err := s.list(ctx)
	if err != nil {
		return recipient, false, err
	}
	recipient, err = find(ctx, list, wanted, whom.Line)
	return recipient, false, errors.Join(err, closeList())
}

func find(ctx context.Context, list *recipients.List, key string, line int) (campaign.Recipient, error) {
	for {
		recipient, err := list.Next(ctx)
		switch {
		case isEnd(err) && line > 0:
			return recipient, fmt.Errorf("%w: line %d has none, or one that is left out", ErrNoSuchRecipient, line)
		case isEnd(err) && key == "":
			return recipient, ErrNobody
		case isEnd(err):
			return recipient, ErrNoSuchRecipient
		case err != nil:
			return recipient, fmt.Errorf("reading the list: %w", err)
		case (key == "" || recipients.Key(recipient.Address) == key) && (line == 0 || list.Line() == line):
			return recipient, nil
		}
	}
}
