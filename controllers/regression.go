package controllers

import (
	"context"
	"fmt"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
)

// remember stops a campaign whose status tells of mails and of which the ledger has nothing: the database is an older or
// another one, and writing the list again would mail everybody again.
func (r *EmailCampaignReconciler) remember(_ context.Context, s *scope) error {
	started := s.before.Status.StartTime
	if s.sealed() || started == nil || s.before.Status.TerminalState != "" {
		return nil
	}
	sent := ""
	if counts := s.before.Status.Recipients; counts != nil {
		sent = fmt.Sprintf(", %d of %d accepted", counts.Accepted, counts.Total)
	}
	s.record = nil
	return &stalledError{
		reason: v1alpha1.ReasonDataRegression, recheckAfter: recheckSource,
		err: fmt.Errorf("the campaign has been sent since %s%s, and the database knows nothing of it: it is not the one that it was, or an "+
			"older one; nothing is sent again. See whether DATABASE_URL is right, and restore the database if it was lost",
			clock(started.Time), sent),
	}
}

// compare holds a campaign of which fewer are accepted than the status has told already. No row ever leaves that state, so
// the database was set back, and who was mailed since then would be mailed again.
func (r *EmailCampaignReconciler) compare(ctx context.Context, s *scope) error {
	told := s.before.Status.Recipients
	if told == nil || s.tally == nil || s.tally.Accepted >= told.Accepted || !s.owner || s.done() ||
		s.before.Status.TerminalState != "" {
		return nil
	}
	err := r.hold(ctx, s, campaign.Hold{
		Reason: v1alpha1.ReasonDataRegression,
		Message: fmt.Sprintf("The status told of %d accepted mails, and the database has %d: it was restored from a backup, or lost what it had "+
			"confirmed. Who was mailed since would be mailed again, so nothing more is sent until somebody sets the annotation %s, or ends "+
			"the campaign with spec.shutdown Stop", told.Accepted, s.tally.Accepted, v1alpha1.AnnotationResumeAt),
		Until: campaign.Forever,
	})
	if err != nil {
		s.tally = nil // what was told stays told until the hold is written
	}
	return err
}

// hold stops the campaign until somebody resumes it.
func (r *EmailCampaignReconciler) hold(ctx context.Context, s *scope, hold campaign.Hold) error {
	if err := r.Ledger.HoldCampaign(ctx, s.key, hold); err != nil {
		return r.databaseError(err)
	}
	if err := r.lookUp(ctx, s); err != nil {
		return err
	}
	return r.unring(ctx, s)
}
