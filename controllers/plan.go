package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail/compose"
)

const (
	// maxTopDomains and maxWarnings are the API's.
	maxTopDomains = 10
	maxWarnings   = 20
	// maxDomains is how many domains are counted at once; beyond it, those that came once only are forgotten.
	maxDomains = 50_000
	// sampleSize is how many mails are rendered in any case; of the others, those that may be larger than any before.
	sampleSize = 100
	// lookUpSize is how many addresses are looked for on the suppression list at once.
	lookUpSize = 2000
	// bulkSender is the number of mails to one provider from which on the large ones ask more of a sender.
	bulkSender = 5000
)

// Suppressed looks addresses up on the suppression list.
type Suppressed interface {
	// CountSuppressed returns how many of the addresses are on the list for mails to the list with this id.
	CountSuppressed(ctx context.Context, listID string, addresses []string) (int, error)
}

// dry reports whether nothing is to be sent.
func (s *scope) dry() bool { return s.object.Spec.Mode == v1alpha1.ModeDryRun }

// steps are what a loop does.
func (r *EmailCampaignReconciler) steps(s *scope) []step {
	if s.dry() {
		return []step{r.dryRun}
	}
	return []step{r.lookUp, r.remember, r.own, r.unlessEnded(
		r.shutDown, r.pause, r.acceptSpec, r.materialize, r.shutDown, r.steer, r.answerVerbs, r.endInTime, r.enqueue, r.lookAtQueue)}
}

// dryRun reads, checks and renders everything, once for each generation, and writes nothing. It sets s.planned and s.plan.
func (r *EmailCampaignReconciler) dryRun(ctx context.Context, s *scope) error {
	accepted := meta.FindStatusCondition(s.object.Status.Conditions, v1alpha1.ConditionAccepted)
	if s.object.Status.Plan != nil && accepted != nil && accepted.Status == "True" && accepted.ObservedGeneration == s.object.Generation {
		s.planned = true
		return nil
	}
	if err := r.lookUp(ctx, s); err != nil {
		return err
	}
	record := s.record
	s.record = nil // whatever has the key, it is not this object's
	if record != nil && record.Sealed() && s.object.Spec.OnConflict == v1alpha1.ConflictFail {
		return taken(s)
	}
	if err := r.acceptSpec(ctx, s); err != nil {
		return err
	}
	if err := r.resolveMessage(ctx, s); err != nil {
		return err
	}
	source, err := r.openSource(ctx, s.object)
	if err != nil {
		return err
	}
	return errors.Join(r.planFrom(ctx, s, source, record), source.Close())
}

// planFrom makes the plan for the list; record is what the ledger has under the key.
func (r *EmailCampaignReconciler) planFrom(ctx context.Context, s *scope, from source, record *campaign.Record) error {
	p := &planner{s: s, lookUp: r.Suppressed, domains: map[string]int64{}}
	totals, err := from.check(ctx, func(recipient campaign.Recipient) error { return p.add(ctx, recipient) })
	if err == nil && totals.Recipients == 0 {
		err = campaign.ErrNoRecipients
	}
	if err == nil {
		err = p.lookUpRest(ctx)
	}
	if failed, ok := errors.AsType[*lookUpError](err); ok {
		return r.databaseError(failed.err)
	}
	if err != nil {
		return r.loadError(s, totals, err)
	}
	draft := s.draft(from.hash)
	if record != nil && record.Sealed() {
		if campaign.SameSource(*record, draft) != nil {
			return r.loadError(s, totals, campaign.ErrKeyConflict)
		}
		p.warn("the database has this very campaign already, under the key %q: nobody would be mailed again", s.key)
	}
	s.planned, s.totals, s.planHash = true, totals, draftHash(draft)
	s.newPlan = p.plan(totals)
	return nil
}

// planner collects what a plan says.
type planner struct {
	s       *scope
	lookUp  Suppressed // nil for nobody to ask
	domains map[string]int64
	// seen counts the recipients, international those whose address needs SMTPUTF8.
	seen, international int64
	// largest is the size of the largest mail, heaviest that of the data it was made of.
	largest, heaviest int
	buffer            []byte
	waiting           []string // addresses that are not looked up yet
	suppressed        int64
	warnings          []string
}

// lookUpError is one of the database.
type lookUpError struct{ err error }

func (e *lookUpError) Error() string { return e.err.Error() }
func (e *lookUpError) Unwrap() error { return e.err }

func (p *planner) add(ctx context.Context, recipient campaign.Recipient) error {
	if err := p.s.checkRecipient(recipient); err != nil {
		return err
	}
	p.seen++
	_, domain, _ := strings.Cut(recipient.Address, "@")
	p.domains[domain]++
	if len(p.domains) > maxDomains {
		maps.DeleteFunc(p.domains, func(_ string, count int64) bool { return count == 1 })
	}
	if strings.ContainsFunc(recipient.Address, func(c rune) bool { return c > '~' }) {
		p.international++
	}
	if err := p.render(recipient); err != nil {
		return err
	}
	if p.lookUp == nil || !p.s.content.Suppress {
		return nil
	}
	if p.waiting = append(p.waiting, recipient.Address); len(p.waiting) < lookUpSize {
		return nil
	}
	return p.lookUpRest(ctx)
}

// render makes the mail if it belongs to the sample.
func (p *planner) render(recipient campaign.Recipient) error {
	weight := len(recipient.Name) + len(recipient.Address)
	for _, value := range recipient.Variables {
		weight += len(value)
	}
	if p.seen > sampleSize && weight <= p.heaviest {
		return nil
	}
	p.heaviest = max(p.heaviest, weight)
	to := p.s.mailTo(recipient)
	to.MessageID = campaign.MessageID(campaign.JobID(p.s.key, 0), recipient.Address, p.s.template.From().Address)
	to.Date = p.s.now
	m, err := p.s.template.Append(p.buffer[:0], to)
	if err != nil {
		if invalid, ok := errors.AsType[*compose.InvalidError](err); ok && invalid.Field == "To" {
			return nil
		}
		return err
	}
	p.buffer = m.Raw
	p.largest = max(p.largest, len(m.Raw))
	return nil
}

// lookUpRest looks up the addresses that wait for it.
func (p *planner) lookUpRest(ctx context.Context) error {
	if len(p.waiting) == 0 {
		return nil
	}
	n, err := p.lookUp.CountSuppressed(ctx, p.s.content.SuppressionScope(), p.waiting)
	if err != nil {
		return &lookUpError{err}
	}
	p.suppressed += int64(n)
	p.waiting = p.waiting[:0]
	return nil
}

// plan is what all of it came to.
func (p *planner) plan(totals campaign.Totals) *v1alpha1.Plan {
	plan := &v1alpha1.Plan{
		Recipients: totals.Recipients - p.suppressed, Duplicates: totals.Duplicates, Invalid: totals.Invalid, Suppressed: p.suppressed,
		MessageBytes: int64(p.largest),
	}
	for domain, count := range p.domains {
		plan.TopDomains = append(plan.TopDomains, v1alpha1.DomainCount{Domain: domain, Count: count})
	}
	slices.SortFunc(plan.TopDomains, func(a, b v1alpha1.DomainCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Domain, b.Domain))
	})
	plan.TopDomains = plan.TopDomains[:min(len(plan.TopDomains), maxTopDomains)]
	if rate := p.s.control.Policy.Rate; rate.Messages > 0 && rate.Period > 0 {
		mails := max(plan.Recipients-int64(rate.Burst), 0) // those of the burst go out at once
		plan.EstimatedDurationSeconds = new(int64(math.Ceil(float64(mails) / float64(rate.Messages) * rate.Period.Seconds())))
	}
	p.findWarnings(plan)
	plan.Warnings = p.warnings[:min(len(p.warnings), maxWarnings)]
	return plan
}

func (p *planner) warn(format string, args ...any) {
	const most = 512
	text := []rune(fmt.Sprintf(format, args...))
	p.warnings = append(p.warnings, string(text[:min(len(text), most)]))
}

func (p *planner) findWarnings(plan *v1alpha1.Plan) {
	content := p.s.content
	link := content.Unsubscribe.Managed || content.Unsubscribe.URLVariable != ""
	if !content.AutoSubmitted && !link {
		p.warn("the mails have no one-click unsubscribing, which large receivers want of marketing mail: set spec.unsubscribe, " +
			"or UNSUBSCRIBE_URL of operator, workers and facade")
	}
	if plan.Suppressed > 0 && plan.Recipients == 0 {
		p.warn("everybody is on the suppression list: nobody would be mailed")
	}
	for _, domain := range plan.TopDomains {
		if domain.Count > bulkSender {
			p.warn("%d recipients are at %s: for more than %d mails a day, large receivers want SPF, DKIM and DMARC of the sender's domain, "+
				"and one-click unsubscribing; spec.throttle spreads them", domain.Count, domain.Domain, bulkSender)
		}
	}
	if id := strings.ToLower(content.ListID); id != "" {
		if _, domain, _ := strings.Cut(p.s.template.From().Address, "@"); !related(id, strings.ToLower(domain)) {
			p.warn("spec.unsubscribe.listID %s is not of the sender's domain %s: who owns the one should own the other (RFC 2919)", id, domain)
		}
	}
	if p.international > 0 {
		p.warn("%d recipients have an address that is not ASCII: the relay must offer SMTPUTF8, or they fail", p.international)
	}
	for _, warning := range p.s.template.Warnings() {
		p.warn("spec.message: %s", warning)
	}
}

// related reports whether two domain names end with the same two labels.
func related(a, b string) bool {
	end := func(name string) string {
		labels := strings.Split(name, ".")
		return strings.Join(labels[max(0, len(labels)-2):], ".")
	}
	return end(a) == end(b)
}

// draftHash is what snapshotHash will be once the draft is sealed.
func draftHash(draft campaign.Draft) string {
	return hashOf([]byte(draft.ContentHash()), []byte(draft.ListHash))
}

// checkPlan says what is wrong where a dry run came before: what is sent is what was planned.
func (s *scope) checkPlan(draft campaign.Draft) error {
	status := &s.before.Status
	if status.Plan == nil || status.MaterializedTime != nil || status.ContentHash == draftHash(draft) {
		return nil
	}
	return &stalledError{
		reason: v1alpha1.ReasonSourceChanged, recheckAfter: soonerRecheck(recheckMessage(s.object), recheckOf(s.object)),
		err: errors.New("the message or the recipients are not those of the dry run (status.plan), so nothing was sent: restore them, " +
			"or delete the object and apply it again as DryRun, to see the plan of what is there now"),
	}
}

// setPlan shows what a dry run came to. Of one that could not be made nothing is left.
func setPlan(status *v1alpha1.EmailCampaignStatus, s *scope, stalled bool) {
	switch {
	case !s.dry():
	case s.newPlan != nil:
		status.Plan, status.ContentHash = s.newPlan, s.planHash
		status.List = listSummary(s.totals)
	case stalled:
		status.Plan, status.ContentHash, status.List = nil, "", nil
	}
}

// planMessage sums the plan up.
func (s *scope) planMessage() string {
	plan := s.newPlan
	if plan == nil {
		plan = s.object.Status.Plan
	}
	text := fmt.Sprintf("A dry run: %s would be mailed", count(plan.Recipients, "recipient"))
	if left := plan.Suppressed + plan.Duplicates + plan.Invalid; left > 0 {
		text += fmt.Sprintf(", %d left out (suppressed %d, duplicate %d, invalid %d)", left, plan.Suppressed, plan.Duplicates, plan.Invalid)
	}
	text += fmt.Sprintf("; the largest mail has %d bytes", plan.MessageBytes)
	if n := len(plan.Warnings); n > 0 {
		text += fmt.Sprintf("; %s in status.plan", count(int64(n), "warning"))
	}
	return text + "; spec.mode Send sends exactly this"
}
