package controllers

import (
	"context"
	"errors"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
)

// reconcileDelete ends the campaign in the ledger and then lets the object go. What was sealed stays as a tombstone, so
// that the same manifest applied again sends nothing.
func (r *EmailCampaignReconciler) reconcileDelete(ctx context.Context, s *scope) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(s.object, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	if err := r.endCampaign(ctx, s); err != nil {
		return r.finish(ctx, s, r.databaseError(err))
	}

	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	controllerutil.RemoveFinalizer(s.object, v1alpha1.Finalizer)
	if err := r.Client.Patch(ctx, s.object, patch); err != nil {
		return ctrl.Result{}, fmt.Errorf("removing the finalizer: %w", client.IgnoreNotFound(err))
	}
	return ctrl.Result{}, nil
}

// endCampaign discards a half-written list and cancels what was not sent. A campaign that this object never got hold
// of, such as the other side of a key conflict, is left alone.
func (r *EmailCampaignReconciler) endCampaign(ctx context.Context, s *scope) error {
	record, err := r.Ledger.Campaign(ctx, s.key)
	switch {
	case errors.Is(err, campaign.ErrNotFound):
		return nil
	case err != nil:
		return err
	case !record.Sealed():
		return r.Ledger.Discard(ctx, s.key)
	case s.object.Status.ContentHash != snapshotHash(record):
		return nil
	default:
		return r.Ledger.Cancel(ctx, s.key, campaign.EndDeleted, s.now)
	}
}
