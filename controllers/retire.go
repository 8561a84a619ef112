package controllers

import (
	"context"
	"fmt"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

// rests reports whether nothing is to be done for a campaign that has ended, as far as the object itself tells: neither
// database nor API server need be asked. The result says when its time is over.
func (r *EmailCampaignReconciler) rests(object *v1alpha1.EmailCampaign, now time.Time) (ctrl.Result, bool) {
	status := &object.Status
	if status.TerminalState == "" || status.ObservedGeneration != object.Generation || !object.DeletionTimestamp.IsZero() ||
		controllerutil.ContainsFinalizer(object, v1alpha1.Finalizer) || inDoubt(status) > 0 || r.asked(object) {
		return ctrl.Result{}, false
	}
	due := expiry(object)
	switch {
	case due == nil:
		return ctrl.Result{}, true
	case now.Before(*due):
		return ctrl.Result{RequeueAfter: due.Sub(now)}, true
	default:
		return ctrl.Result{}, false
	}
}

// ended reports whether the status tells the campaign's end and nobody asks to take it back. Of one whose rows are gone the
// status is all that is left: it is not sent again.
func (r *EmailCampaignReconciler) ended(s *scope) bool {
	return s.object.Status.TerminalState != "" && (s.record == nil || !r.asked(s.object))
}

// expiry is when spec.ttlSecondsAfterFinished has the object deleted; nil for never. An object that was applied after the
// end is kept for that long too: whoever applied it wants to see something.
func expiry(object *v1alpha1.EmailCampaign) *time.Time {
	ttl, completed := object.Spec.TTLSecondsAfterFinished, object.Status.CompletionTime
	if ttl == nil || completed == nil {
		return nil
	}
	return new(later(completed.Time, object.CreationTimestamp.Time).Add(time.Duration(*ttl) * time.Second))
}

// retire lets go of a campaign whose end is written: it needs no owner and no finalizer any more, and after its time the
// object is deleted. One with doubts keeps both: they may be resolved.
func (r *EmailCampaignReconciler) retire(ctx context.Context, s *scope, res ctrl.Result) (ctrl.Result, error) {
	status := &s.object.Status
	written := s.object.ResourceVersion != s.before.ResourceVersion || equality.Semantic.DeepEqual(s.before.Status, *status)
	if !s.done() || status.TerminalState == "" || !written {
		return res, nil
	}
	due := expiry(s.object)
	if due != nil && !s.now.Before(*due) {
		return ctrl.Result{}, r.expire(ctx, s)
	}
	if inDoubt(status) == 0 && !r.asked(s.object) {
		if s.owner && controllerutil.ContainsFinalizer(s.object, v1alpha1.Finalizer) {
			if err := r.Ledger.Disown(ctx, s.key, s.id()); err != nil {
				return ctrl.Result{}, r.databaseError(err)
			}
		}
		if err := r.removeFinalizer(ctx, s.object); err != nil {
			return ctrl.Result{}, err
		}
	}
	if due != nil {
		s.wake(*due)
	}
	return s.sooner(res), nil
}

// expire deletes this very object, as it was read.
func (r *EmailCampaignReconciler) expire(ctx context.Context, s *scope) error {
	err := r.Client.Delete(ctx, s.object, client.Preconditions{UID: &s.object.UID, ResourceVersion: &s.object.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting the object after its time (spec.ttlSecondsAfterFinished): %w", err)
	}
	return nil
}

// Slim is the transform of the cache: it keeps of an object what reconciling needs, in place. Who wrote which field is of no
// use. Of a campaign that has ended only what decides whether it rests is kept, so that ten thousand of them stay small:
// whoever needs more reads the whole object. Slim(Slim(x)) is Slim(x).
func Slim(object any) (any, error) {
	c, ok := object.(*v1alpha1.EmailCampaign)
	if !ok {
		return object, nil
	}
	if c.Status.TerminalState != "" {
		*c = atRest(c)
		return c, nil
	}
	c.ManagedFields = nil
	delete(c.Annotations, corev1.LastAppliedConfigAnnotation)
	return c, nil
}

// atRest is what the cache keeps of a campaign that has ended: what rests, asked, expiry, wanted and States read.
func atRest(c *v1alpha1.EmailCampaign) v1alpha1.EmailCampaign {
	var kept v1alpha1.EmailCampaign
	kept.Kind, kept.APIVersion = intern(c.Kind), intern(c.APIVersion)
	kept.Namespace, kept.Name, kept.UID = intern(c.Namespace), c.Name, c.UID
	kept.ResourceVersion, kept.Generation = c.ResourceVersion, c.Generation
	kept.CreationTimestamp, kept.DeletionTimestamp = c.CreationTimestamp, c.DeletionTimestamp
	if ours := ourAnnotations(c); len(ours) > 0 {
		kept.Annotations = ours
	}
	if controllerutil.ContainsFinalizer(c, v1alpha1.Finalizer) {
		kept.Finalizers = []string{v1alpha1.Finalizer}
	}
	kept.Spec.TTLSecondsAfterFinished = c.Spec.TTLSecondsAfterFinished

	from, status := &c.Status, &kept.Status
	status.TerminalState = v1alpha1.TerminalState(intern(string(from.TerminalState)))
	status.ObservedGeneration, status.CompletionTime = from.ObservedGeneration, from.CompletionTime
	status.LastHandledResumeAt, status.LastHandledRetryFailedAt = from.LastHandledResumeAt, from.LastHandledRetryFailedAt
	status.LastHandledResolveInDoubt, status.LastHandledTestSendAt = from.LastHandledResolveInDoubt, from.LastHandledTestSendAt
	if n := inDoubt(from); n > 0 {
		status.Recipients = &v1alpha1.RecipientCounts{InDoubt: n}
	}
	if ready := meta.FindStatusCondition(from.Conditions, v1alpha1.ConditionReady); ready != nil {
		status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: intern(ready.Reason)}}
	}
	return kept
}

// intern is the text, which all that have the same share.
func intern(text string) string { return unique.Make(text).Value() }

// whole reads the object from the API server if Slim took a part of it.
func (r *EmailCampaignReconciler) whole(ctx context.Context, object *v1alpha1.EmailCampaign) error {
	if object.Spec.Message.Subject != "" { // as every object on the API server has
		return nil
	}
	if err := r.Reader.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return fmt.Errorf("reading the whole object: %w", err)
	}
	return nil
}
