package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/fetch"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// own finds out whether this object steers the campaign, and says that it is at work if it does. One that has neither
// written nor adopted the campaign does not come forward before materialize knows that it is the same. It sets s.owner.
func (r *EmailCampaignReconciler) own(ctx context.Context, s *scope) error {
	if s.record == nil || s.sealed() && !s.ours() {
		return nil
	}
	return r.comeForward(ctx, s)
}

// ours reports whether this object wrote or adopted what the ledger has.
func (s *scope) ours() bool { return s.record.Owner.ID == s.id() || s.holds() }

// comeForward makes this object the owner, unless another one is. The note of an owner is good for a while: no more is
// written than needed.
func (r *EmailCampaignReconciler) comeForward(ctx context.Context, s *scope) error {
	owner := s.record.Owner
	unseen := s.now.Sub(owner.SeenAt)
	switch {
	case owner.ID == s.id() && unseen < campaign.OwnerPatience/3:
		s.owner = true
		return nil
	case owner.ID != "" && owner.ID != s.id() && unseen < campaign.OwnerPatience:
		return nil
	}
	owner, err := r.Ledger.Own(ctx, s.key, s.id(), s.now)
	switch {
	case errors.Is(err, campaign.ErrNotFound): // discarded meanwhile
		s.record = nil
		return nil
	case err != nil:
		return r.databaseError(err)
	}
	s.record.Owner, s.owner = owner, owner.ID == s.id()
	return nil
}

// materialize brings the list into the ledger and seals it, or adopts what is there under the key. A source that this
// object had sealed is read again after an edit only, and before the first mail: what was sealed is sent, whatever becomes
// of the ConfigMap. It sets s.accepted, s.record and s.owner.
func (r *EmailCampaignReconciler) materialize(ctx context.Context, s *scope) error {
	if s.upToDate() || r.fetched.same(s) {
		s.accepted = true
		r.fetched.note(s)
		return nil
	}
	if s.record != nil && !s.sealed() && !s.owner { // another object is writing it
		if s.object.Spec.OnConflict == v1alpha1.ConflictFail {
			return taken(s)
		}
		return nil
	}
	err := r.load(ctx, s)
	s.accepted = err == nil && s.sealed()
	if s.accepted {
		r.fetched.note(s)
	}
	if err == nil || !s.sealed() || !s.owner || asDependency(err) != nil {
		return err
	}
	return r.recall(ctx, s, err)
}

// upToDate reports whether what is sealed is what this generation asks for.
func (s *scope) upToDate() bool {
	if !s.sealed() || !s.ours() {
		return false
	}
	accepted := meta.FindStatusCondition(s.object.Status.Conditions, v1alpha1.ConditionAccepted)
	if s.holds() && accepted != nil && accepted.Status == "True" && accepted.ObservedGeneration == s.object.Generation {
		return true
	}
	if s.record.StartedAt == nil && s.record.CancelledAt == nil {
		return false
	}
	inline := s.object.Spec.Recipients.Inline
	return (s.elsewhere() || s.draft("").SameContent(*s.record)) && s.record.JobSize == jobSize(s.object) &&
		(inline == nil || inlineSource(inline).hash == s.record.ListHash)
}

// recall unseals a campaign of which nothing was sent and whose edit can't be followed, so that what the object no longer
// says is not sent. It returns why.
func (r *EmailCampaignReconciler) recall(ctx context.Context, s *scope, why error) error {
	if s.record.StartedAt != nil || s.record.CancelledAt != nil {
		return why
	}
	if err := r.Ledger.Reopen(ctx, s.key); err != nil {
		if errors.Is(err, campaign.ErrStarted) {
			return why
		}
		return errors.Join(why, r.databaseError(err))
	}
	if err := r.unring(ctx, s); err != nil && !isQueueAway(err) {
		return errors.Join(why, err)
	}
	return errors.Join(why, r.lookUp(ctx, s))
}

func (s *scope) draft(listHash string) campaign.Draft {
	return campaign.Draft{
		Key:           s.key,
		Origin:        campaign.OriginKubernetes,
		Content:       s.content,
		DefaultSender: s.defaultSender, DefaultUnsubscribe: s.defaultUnsubscribe,
		ListHash:  listHash,
		JobSize:   jobSize(s.object),
		Control:   s.control,
		CreatedAt: s.object.CreationTimestamp.Time,
		Owner:     s.id(),
	}
}

// load reads the source and writes it, or finds that the ledger already has it.
func (r *EmailCampaignReconciler) load(ctx context.Context, s *scope) error {
	if s.sealed() && !s.ours() && s.object.Spec.OnConflict == v1alpha1.ConflictFail {
		return taken(s)
	}
	if err := r.resolveMessage(ctx, s); err != nil {
		return err
	}
	source, err := r.openSource(ctx, s.object)
	if err != nil {
		return err
	}
	return errors.Join(r.loadFrom(ctx, s, source), source.Close())
}

// loadFrom checks the list, and the message for everybody in it, before it is written.
func (r *EmailCampaignReconciler) loadFrom(ctx context.Context, s *scope, source source) error {
	totals, err := source.check(ctx, s.checkRecipient)
	if err == nil && totals.Recipients == 0 {
		err = campaign.ErrNoRecipients
	}
	if err != nil {
		return r.loadError(s, totals, err)
	}
	draft := s.draft(source.hash)
	if err := s.checkPlan(draft); err != nil {
		return err
	}
	if s.sealed() {
		if campaign.SameSource(*s.record, draft) == nil {
			return r.comeForward(ctx, s)
		}
		if err := r.reopen(ctx, s); err != nil {
			return err
		}
	}
	if s.record != nil && campaign.SameSource(*s.record, draft) != nil { // unsealed: nothing of it was ever sent
		if err := r.clear(ctx, s); err != nil {
			return err
		}
	}
	record, err := campaign.NewLoader(r.Ledger, r.Now).Load(ctx, draft, source.open())
	if errors.Is(err, campaign.ErrSourceChanged) {
		return errors.Join(r.loadError(s, totals, err), r.sweep(ctx, s))
	}
	if err != nil {
		return r.loadError(s, totals, err)
	}
	s.record, s.owner = &record, record.Owner.ID == s.id()
	return nil
}

// reopen unseals a campaign whose object was edited before the first mail.
func (r *EmailCampaignReconciler) reopen(ctx context.Context, s *scope) error {
	switch {
	case !s.owner:
		return r.loadError(s, campaign.Totals{}, campaign.ErrKeyConflict)
	case s.record.StartedAt != nil || s.record.CancelledAt != nil:
		return begun()
	}
	err := r.Ledger.Reopen(ctx, s.key)
	if errors.Is(err, campaign.ErrStarted) {
		return errors.Join(begun(), r.lookUp(ctx, s))
	}
	if err != nil {
		return r.databaseError(err)
	}
	return r.lookUp(ctx, s)
}

// clear takes an unsealed list out of queue and database.
func (r *EmailCampaignReconciler) clear(ctx context.Context, s *scope) error {
	if err := r.unring(ctx, s); err != nil {
		return err
	}
	if err := r.Ledger.Discard(ctx, s.key); err != nil {
		return r.databaseError(err)
	}
	s.record = nil
	return nil
}

// sweep clears rows that don't add up, if they are this object's: two processes wrote them at once.
func (r *EmailCampaignReconciler) sweep(ctx context.Context, s *scope) error {
	if err := r.lookUp(ctx, s); err != nil || s.record == nil || s.sealed() || s.record.Owner.ID != s.id() {
		return err
	}
	return r.clear(ctx, s)
}

func taken(s *scope) error {
	key := s.key
	s.record = nil // another campaign's counts are not this object's
	return &stalledError{reason: v1alpha1.ReasonKeyConflict, recheckAfter: recheckSource, err: fmt.Errorf(
		"the campaign key %q already has a campaign that this object did not write, and spec.onConflict is Fail; "+
			"apply this one under another name or spec.campaignKey, or with spec.onConflict Adopt", key)}
}

func begun() error {
	return &stalledError{reason: v1alpha1.ReasonKeyConflict, err: errors.New(
		"the message or the recipients were changed when a worker had taken up the campaign already, or it had ended; " +
			"restore them, or apply the change under another name or spec.campaignKey")}
}

// loadError says what an error of reading or writing the list means for the user.
func (r *EmailCampaignReconciler) loadError(s *scope, totals campaign.Totals, err error) error {
	syntax, isSyntax := errors.AsType[*recipients.SyntaxError](err)
	template, isTemplate := errors.AsType[*templateError](err)
	read, isRead := errors.AsType[*fetch.Error](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, campaign.ErrKeyConflict):
		if s.holds() {
			return &stalledError{reason: v1alpha1.ReasonKeyConflict, err: errors.New(
				"the message or the recipients were changed after they had been written to the database " +
					"(status.materializedTime), and another object steers the campaign; restore them, or apply the change under " +
					"another name or spec.campaignKey")}
		}
		s.record = nil // another campaign's counts are not this object's
		return &stalledError{reason: v1alpha1.ReasonKeyConflict, err: fmt.Errorf(
			"the campaign key %q already belongs to a campaign with another message or other recipients; "+
				"apply this one under another name or spec.campaignKey", s.key)}
	case errors.Is(err, campaign.ErrSourceChanged):
		return &stalledError{reason: v1alpha1.ReasonSourceChanged, recheckAfter: recheckSource, err: errors.New(
			"the message or the recipients changed while they were being written; nothing was sent, and they are written anew")}
	case isTemplate:
		return &stalledError{
			reason: v1alpha1.ReasonInvalidTemplate, recheckAfter: soonerRecheck(recheckMessage(s.object), recheckOf(s.object)),
			err: fmt.Errorf("the message can't be made for %s %d of %s: %w", entryName(s.object), template.line, sourceName(s.object), template),
		}
	case isRead:
		return &stalledError{reason: v1alpha1.ReasonFetchFailed, recheckAfter: refetchLater, err: fmt.Errorf(
			"spec.recipients.urlRef can't be read: %w", read)}
	case isSyntax:
		return &stalledError{reason: v1alpha1.ReasonInvalidRecipients, recheckAfter: recheckOf(s.object), err: fmt.Errorf(
			"%s can't be read: %w", sourceName(s.object), syntax)}
	case errors.Is(err, campaign.ErrNoRecipients) && totals.Invalid == 0:
		return &stalledError{reason: v1alpha1.ReasonInvalidRecipients, recheckAfter: recheckOf(s.object), err: fmt.Errorf(
			"%s is empty: it has no entries", sourceName(s.object))}
	case errors.Is(err, campaign.ErrNoRecipients):
		return &stalledError{reason: v1alpha1.ReasonInvalidRecipients, recheckAfter: recheckOf(s.object), err: fmt.Errorf(
			"%s has no address that can be mailed%s", sourceName(s.object), invalidLines(totals))}
	default:
		return r.databaseError(err)
	}
}

// entryName is what a line of the list is called.
func entryName(object *v1alpha1.EmailCampaign) string {
	if object.Spec.Recipients.Inline != nil {
		return "entry"
	}
	return "line"
}

// soonerRecheck is the sooner of two times to look again, where 0 is never.
func soonerRecheck(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// elsewhere reports whether parts of the message are not in the object. They may change there once the campaign is sealed,
// which means nothing for it.
func (s *scope) elsewhere() bool {
	message := s.object.Spec.Message
	return message.TextFrom != nil || message.HTMLFrom != nil || len(message.Attachments) > 0
}
