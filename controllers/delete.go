package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/failpoint"
)

// DefaultDeletionPatience is how long a deletion waits for the database unless it is told otherwise.
const DefaultDeletionPatience = time.Hour

// forgetTimeout bounds what is tried for an object that somebody wants gone at once.
const forgetTimeout = 5 * time.Second

// reconcileDelete does what spec.deletionPolicy says and then lets the object go. What was sealed stays as a tombstone, so
// that the same manifest applied again sends nothing. While the database is away it is tried again, but not for ever.
func (r *EmailCampaignReconciler) reconcileDelete(ctx context.Context, s *scope) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(s.object, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	var told *notice
	err := guarded(ctx, s, func(ctx context.Context, s *scope) (err error) {
		told, err = r.leave(ctx, s)
		return err
	})
	if err != nil {
		why := r.givesUp(s)
		if why == "" {
			return r.finish(ctx, s, err)
		}
		log.FromContext(ctx).Info("Letting an object go without the database: its campaign is left as it is",
			"reason", why, "campaignKey", s.key, "error", r.Redact(err.Error()))
		told = &notice{
			warning: true, reason: v1alpha1.EventCampaignReleased, action: "Delete",
			message: "The object goes and its campaign is left running, because " + why + ": " + r.Redact(err.Error()),
		}
	}
	if err := r.removeFinalizer(ctx, s.object); err != nil {
		return ctrl.Result{}, err
	}
	r.tell(s, told)
	return ctrl.Result{}, nil
}

// givesUp says why the deletion does not wait any longer; empty while it does.
func (r *EmailCampaignReconciler) givesUp(s *scope) string {
	if _, there := s.object.Annotations[v1alpha1.AnnotationForget]; there {
		return "the annotation " + v1alpha1.AnnotationForget + " is there"
	}
	if waited := s.now.Sub(s.object.DeletionTimestamp.Time); waited >= r.DeletionPatience {
		return fmt.Sprintf("its deletion has waited for %s (DELETION_PATIENCE)", r.DeletionPatience)
	}
	return ""
}

// leave ends what this object steers, or sets it free. A campaign that another object steers, such as the other side of a
// key conflict, is left alone.
func (r *EmailCampaignReconciler) leave(ctx context.Context, s *scope) (*notice, error) {
	if _, there := s.object.Annotations[v1alpha1.AnnotationForget]; there {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, forgetTimeout)
		defer cancel()
	}
	if s.dry() { // what it planned may be there, and is another object's
		return nil, nil //nolint:nilnil // there is nothing to tell
	}
	if err := r.lookUp(ctx, s); err != nil {
		return nil, err
	}
	if s.record == nil {
		return nil, nil //nolint:nilnil // there is nothing to tell
	}
	if owner := s.record.Owner.ID; owner != s.id() && (owner != "" || !s.holds()) {
		return nil, nil //nolint:nilnil // there is nothing to tell
	}
	switch {
	case !s.sealed():
		return nil, r.discard(ctx, s)
	case s.object.Spec.DeletionPolicy == v1alpha1.DeletionOrphan:
		return r.orphan(ctx, s)
	}
	if err := r.end(ctx, s, campaign.EndDeleted); err != nil {
		return nil, err
	}
	return nil, r.databaseError(r.Ledger.Disown(ctx, s.key, s.id()))
}

// discard takes a half-written list away. A queue that is away does not keep it: a job of nothing does nothing.
func (r *EmailCampaignReconciler) discard(ctx context.Context, s *scope) error {
	if err := r.unring(ctx, s); err != nil && !isQueueAway(err) {
		return err
	}
	return r.databaseError(r.Ledger.Discard(ctx, s.key))
}

// orphan leaves the campaign to itself.
func (r *EmailCampaignReconciler) orphan(ctx context.Context, s *scope) (*notice, error) {
	tally, err := r.Ledger.Tally(ctx, s.key)
	if err != nil {
		return nil, r.databaseError(err)
	}
	if err := r.Ledger.Disown(ctx, s.key, s.id()); err != nil {
		return nil, r.databaseError(err)
	}
	if tally.Done() {
		return nil, nil //nolint:nilnil // there is nothing to tell
	}
	return &notice{
		reason: v1alpha1.EventCampaignReleased, action: "Delete",
		message: fmt.Sprintf("The object goes and its campaign goes on (spec.deletionPolicy Orphan): %s recipients have ended", tally.Progress()),
	}, nil
}

// removeFinalizer lets the object go.
func (r *EmailCampaignReconciler) removeFinalizer(ctx context.Context, object *v1alpha1.EmailCampaign) error {
	before := object.DeepCopy()
	if !controllerutil.RemoveFinalizer(object, v1alpha1.Finalizer) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := failpoint.Hit(failpoint.OperatorBeforeRelease); err != nil {
		return fmt.Errorf("removing the finalizer: %w", err)
	}
	if err := failpoint.After(failpoint.OperatorReleased, r.Client.Patch(ctx, object, patch)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing the finalizer: %w", err)
	}
	r.newest.note(object, r.Now())
	return nil
}

// tell emits one event, if there is one.
func (r *EmailCampaignReconciler) tell(s *scope, n *notice) {
	if n == nil {
		return
	}
	eventType := corev1.EventTypeNormal
	if n.warning {
		eventType = corev1.EventTypeWarning
	}
	r.Recorder.Eventf(s.object, nil, eventType, n.reason, n.action, "%s", n.message)
}
