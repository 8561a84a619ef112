package check

import (
	"context"
	"errors"
	"fmt"

	"github.com/cartero-mail/cartero/internal/manifest"
)

// Lint checks every campaign of the set. It fails where it can't: a list that can't be opened is no finding.
func Lint(ctx context.Context, set *manifest.Set, options Options) (*Report, error) {
	var findings []Finding
	campaigns := make([]Campaign, 0, len(set.Campaigns))
	for _, err := range set.Problems {
		if problem, ok := errors.AsType[*manifest.Error](err); ok {
			findings = append(findings, at(problem.Position, Error, RuleInvalidYAML, "", "%s", problem.Reason))
		}
	}
	for _, b := range set.Bundles {
		findings = append(findings, checkBundle(b)...)
	}
	for _, d := range set.Others {
		findings = append(findings, at(d.Position(""), Note, RuleIgnored, "", "%s was not looked at", kindOf(d)))
	}
	for _, d := range set.Campaigns {
		s := newSubject(options, set, d)
		if err := s.lint(ctx); err != nil {
			return nil, err
		}
		findings = append(findings, s.findings...)
		campaigns = append(campaigns, s.summary)
	}
	if len(set.Campaigns) == 0 && len(set.Problems) == 0 {
		findings = append(findings, Finding{Severity: Warning, Rule: RuleNoCampaign, Message: "there is no EmailCampaign in the files"})
	}
	return newReport(findings, campaigns), nil
}

func (s *subject) lint(ctx context.Context) error {
	s.findings = append(s.findings, checkObject(s.document)...)
	if !s.admit(ctx) {
		return nil
	}
	s.accept(ctx)
	s.checkMessage()
	return s.checkList(ctx)
}

func kindOf(d *manifest.Document) string {
	if d.Kind == "" {
		return "an object without a kind"
	}
	return fmt.Sprintf("%s %q", d.Kind, d.Name)
}

func attachmentPath(i int) string { return fmt.Sprintf("spec.message.attachments[%d]", i) }
