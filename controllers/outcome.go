package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// progressInterval is how often the counts of a campaign that is being sent are read.
	progressInterval = 2 * time.Second
	// idleInterval is how often a campaign that waits is looked at: suspended, held, or all deferred.
	idleInterval = 15 * time.Second
)

// finish writes the status, the only place that does, then the events, and turns the error of the steps into what the
// controller does next.
func (r *EmailCampaignReconciler) finish(ctx context.Context, s *scope, stepErr error) (ctrl.Result, error) {
	computeStatus(s, stepErr, r.Redact)
	if err := r.patchStatus(ctx, s); err != nil {
		return ctrl.Result{}, errors.Join(stepErr, err)
	}
	for _, e := range eventsFor(&s.before.Status, &s.object.Status, outageEvent(s, stepErr)) {
		eventType := corev1.EventTypeNormal
		if e.warning {
			eventType = corev1.EventTypeWarning
		}
		r.Recorder.Eventf(s.object, nil, eventType, e.reason, e.action, "%s", e.message)
	}
	return nextLoop(s, stepErr)
}

// patchStatus writes the status in one request, if it changed.
func (r *EmailCampaignReconciler) patchStatus(ctx context.Context, s *scope) error {
	if equality.Semantic.DeepEqual(s.before.Status, s.object.Status) { // times are the same in any zone
		return nil
	}
	err := r.Client.Status().Patch(ctx, s.object, client.MergeFrom(s.before))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}

// nextLoop is a pure function of what the loop found.
func nextLoop(s *scope, stepErr error) (ctrl.Result, error) {
	if stalled := asStalled(stepErr); stalled != nil {
		return ctrl.Result{RequeueAfter: stalled.recheckAfter}, nil //nolint:nilerr // the status says it, and retrying would not help
	}
	if stepErr != nil {
		return ctrl.Result{}, stepErr
	}
	switch {
	case s.done() && s.tally.InDoubt == 0:
		return ctrl.Result{}, nil
	case s.done(): // a doubt may still be resolved by a worker that comes back
		return ctrl.Result{RequeueAfter: time.Minute}, nil
	case s.tally == nil:
		return ctrl.Result{RequeueAfter: progressInterval}, nil
	case s.tally.Active == 0 && (s.suspended() || s.held() || s.tally.Pending == 0):
		return ctrl.Result{RequeueAfter: idleInterval}, nil
	default:
		return ctrl.Result{RequeueAfter: progressInterval}, nil
	}
}
