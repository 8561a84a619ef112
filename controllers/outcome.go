package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/failpoint"
)

const (
	// progressInterval is how often the counts of a campaign that is being sent are read.
	progressInterval = 2 * time.Second
	// idleInterval is how often a campaign that waits is looked at: suspended, held, or all deferred.
	idleInterval = 15 * time.Second
	// afterConflict is when an object that somebody else has just changed is looked at again.
	afterConflict = time.Second
	// afterPanic is when a campaign that the reconciler panicked over is looked at again.
	afterPanic = time.Minute
)

// finish writes the status, the only place that does, then the events, and turns the error of the steps into what the
// controller does next.
func (r *EmailCampaignReconciler) finish(ctx context.Context, s *scope, stepErr error) (ctrl.Result, error) {
	for _, refused := range s.verbErrors {
		r.Recorder.Eventf(s.object, nil, corev1.EventTypeWarning, v1alpha1.EventVerbRejected, "Answer", "%s", r.Redact(refused.Error()))
	}
	computeStatus(s, stepErr, r.Redact, r.NoProgressAfter)
	if wait := r.writes.wait(s); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
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
	return nextLoop(s, stepErr, r.followed.interval(s))
}

// statusInterval is the least time between two writes of a campaign's status that nobody asked for.
const statusInterval = 2 * time.Second

// statusWrites remembers when each object's status was written last. Its zero value is ready.
type statusWrites struct {
	mu sync.Mutex
	at map[types.UID]time.Time
}

// wait is how long the status of this loop must wait to be written: what changed since is only what workers do, or time
// does. 0: now. What a person waits for, an edit or a deletion, is never kept back.
func (w *statusWrites) wait(s *scope) time.Duration {
	if equality.Semantic.DeepEqual(s.before.Status, s.object.Status) ||
		s.before.Status.ObservedGeneration != s.object.Generation || !s.object.DeletionTimestamp.IsZero() {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(0, statusInterval-s.now.Sub(w.at[s.object.UID]))
}

// note remembers a write; those of objects that need no keeping apart any more are forgotten.
func (w *statusWrites) note(s *scope) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at == nil {
		w.at = map[types.UID]time.Time{}
	}
	maps.DeleteFunc(w.at, func(_ types.UID, at time.Time) bool { return s.now.Sub(at) >= statusInterval })
	w.at[s.object.UID] = s.now
}

// patchStatus writes the status in one request, if it changed.
func (r *EmailCampaignReconciler) patchStatus(ctx context.Context, s *scope) error {
	if equality.Semantic.DeepEqual(s.before.Status, s.object.Status) { // times are the same in any zone
		return nil
	}
	if err := failpoint.Hit(failpoint.OperatorBeforeStatus); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	err := failpoint.After(failpoint.OperatorStatusWritten, r.writeStatus(ctx, s))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing the status: %w", err)
	}
	r.writes.note(s)
	if err == nil {
		r.newest.note(s.object, s.now)
	}
	return nil
}

// statusTries bounds how often a status is written against others who change the object.
const statusTries = 5

// writeStatus writes to the very object and version that was read: by its name alone the status of one that is gone would come
// to another that has taken its place unseen. Where our cache is behind, the API server is asked; of an object that is gone
// there is nothing to write.
func (r *EmailCampaignReconciler) writeStatus(ctx context.Context, s *scope) error {
	status, from := s.object.Status.DeepCopy(), s.before
	for try := 1; ; try++ {
		err := r.Client.Status().Patch(ctx, s.object, client.MergeFromWithOptions(from, client.MergeFromWithOptimisticLock{}))
		if !apierrors.IsConflict(err) || try == statusTries {
			return err
		}
		from = &v1alpha1.EmailCampaign{}
		if err := r.Reader.Get(ctx, client.ObjectKeyFromObject(s.object), from); err != nil {
			return err
		}
		if from.UID != s.object.UID || equality.Semantic.DeepEqual(from.Status, *status) {
			return nil
		}
		from.DeepCopyInto(s.object)
		status.DeepCopyInto(&s.object.Status)
	}
}

// unlessStopped is the error of a loop, unless the end of the process has cut it short: whoever leads next does it all again,
// and there is nothing for anybody to look into.
func unlessStopped(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	return err
}

// nextLoop is a pure function of what the loop found; progress is how often a campaign that is being sent is looked at.
func nextLoop(s *scope, stepErr error, progress time.Duration) (ctrl.Result, error) {
	if stalled := asStalled(stepErr); stalled != nil {
		return ctrl.Result{RequeueAfter: stalled.recheckAfter}, nil //nolint:nilerr // the status says it, and retrying would not help
	}
	if isPanic(stepErr) { // the log has it, and it would be the same at once
		return ctrl.Result{RequeueAfter: afterPanic}, nil
	}
	if stepErr != nil {
		return ctrl.Result{}, stepErr
	}
	return ctrl.Result{RequeueAfter: s.soonest(lookAgain(s, progress))}, nil
}

// lookAgain is when the counts are worth reading again; 0 for never.
func lookAgain(s *scope, progress time.Duration) time.Duration {
	_, waits := s.waiting()
	switch {
	case s.planned: // an edit brings its own event
		return 0
	case s.done() && s.tally.InDoubt == 0:
		return 0
	case s.done(): // a doubt may still be resolved by a worker that comes back
		return time.Minute
	case s.tally == nil:
		return progressInterval
	case s.tally.Active == 0 && (s.paused() || s.held() || waits || s.tally.Pending == 0):
		return idleInterval
	default:
		return progress
	}
}

// soonest is when to look again: after the interval, or when the next moment comes at which something is to be done.
func (s *scope) soonest(interval time.Duration) time.Duration {
	moments := []*time.Time{s.deadline, s.expiry()}
	if s.sealed() && !s.done() {
		moments = append(moments, &s.record.Control.OpensAt, &s.record.Control.ClosesAt)
	}
	for _, moment := range moments {
		if moment == nil || !moment.After(s.now) {
			continue
		}
		if wait := moment.Sub(s.now); interval == 0 || wait < interval {
			interval = wait
		}
	}
	return interval
}

// expiry is when spec.ttlSecondsAfterFinished has the object deleted; nil for never.
func (s *scope) expiry() *time.Time {
	ttl := s.object.Spec.TTLSecondsAfterFinished
	if ttl == nil || !s.done() || s.tally.LastCompletedAt == nil {
		return nil
	}
	return new(s.tally.LastCompletedAt.Add(time.Duration(*ttl) * time.Second))
}
