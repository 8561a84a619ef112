package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	rawsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/failpoint"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// Doorbell puts the jobs of a sealed campaign into the queue, and takes them out.
type Doorbell interface {
	// RingCampaign rings the campaign's jobs that are due and not in the queue. It is idempotent. A failure of the queue
	// is an *outbox.QueueError.
	RingCampaign(ctx context.Context, key string) error
	// UnringCampaign takes the campaign's jobs out of the queue, but for those that run. It is idempotent, and fails as
	// RingCampaign does.
	UnringCampaign(ctx context.Context, key string) error
}

// EmailCampaignReconciler brings the ledger and the queue to what an EmailCampaign says, and the object's status to
// what the ledger counts.
type EmailCampaignReconciler struct {
	// Client reads EmailCampaigns from the cache and writes them.
	Client client.Client
	// Reader reads ConfigMaps and Secrets from the API server: caching them would need list and watch.
	Reader client.Reader
	// Recorder writes events.
	Recorder events.EventRecorder
	Ledger   campaign.Ledger
	Doorbell Doorbell
	// IsUnavailable tells an outage of the database, which is waited for, from a fault.
	IsUnavailable func(error) bool
	// Redact masks addresses and credentials in what becomes a condition or event.
	Redact func(string) string
	// DefaultFrom is the sender of campaigns that name none; zero where there is no default.
	DefaultFrom mail.Address
	// MixedWorkers tells that Node workers share the queue: campaigns that they can't mail as declared are refused.
	MixedWorkers bool
	// ManagedUnsubscribe tells that the engine has an address where recipients unsubscribe (UNSUBSCRIBE_URL).
	ManagedUnsubscribe bool
	// Suppressed tells dry runs who is on the suppression list; nil tells nothing.
	Suppressed Suppressed
	// Fetcher gets what urlRef names; without it, such campaigns are refused.
	Fetcher Fetcher
	// NoProgressAfter is how long nobody may end while workers should be sending, before status says so; 0 means
	// DefaultNoProgressAfter.
	NoProgressAfter time.Duration
	// DeletionPatience is how long a deletion waits for the database before the object goes without it; 0 means
	// DefaultDeletionPatience.
	DeletionPatience time.Duration
	// TestRecipients get the test mails that the annotation test-send-at asks for; without any, there are none.
	TestRecipients []string
	// Mailer queues test mails; it may be nil where there are no TestRecipients.
	Mailer Mailer
	// QueuePaused reports whether the queue is paused for all workers; nil where nobody can know.
	QueuePaused func(context.Context) (bool, error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	refused refusals
	fetched declarations

	writes   statusWrites
	newest   newest
	followed followed
	queue    queuePause
}

// Options tune the controller.
type Options struct {
	// MaxConcurrentReconciles is how many campaigns are reconciled at once; 0 means 36.
	MaxConcurrentReconciles int
	// SkipNameValidation lets tests run several controllers of the same name in one process.
	SkipNameValidation bool
}

const (
	defaultConcurrentReconciles = 36
	firstRetry                  = 500 * time.Millisecond
	lastRetry                   = 10 * time.Second
)

// +kubebuilder:rbac:groups=mail.cartero.dev,resources=emailcampaigns,verbs=get;list;watch;update;patch;delete
// +kubebuilder:rbac:groups=mail.cartero.dev,resources=emailcampaigns/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=mail.cartero.dev,resources=emailcampaigns/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create

// SetupWithManager registers the reconciler, or says which of its fields is missing.
func (r *EmailCampaignReconciler) SetupWithManager(mgr ctrl.Manager, opts Options) error {
	if err := r.validate(); err != nil {
		return err
	}
	if opts.MaxConcurrentReconciles == 0 {
		opts.MaxConcurrentReconciles = defaultConcurrentReconciles
	}
	r.followed.reconcilers = opts.MaxConcurrentReconciles
	ends := make(chan event.GenericEvent)
	err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return r.watchEnds(ctx, ends) }))
	if err != nil {
		return fmt.Errorf("adding what watches for the ends of campaigns: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		WatchesRawSource(rawsource.Channel(ends, &handler.EnqueueRequestForObject{})).
		For(&v1alpha1.EmailCampaign{}, builder.WithPredicates(r.wanted())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: opts.MaxConcurrentReconciles,
			SkipNameValidation:      &opts.SkipNameValidation,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](
				firstRetry, lastRetry),
		}).
		Complete(r)
}

func (r *EmailCampaignReconciler) validate() error {
	var missing []error
	for name, absent := range map[string]bool{
		"Client": r.Client == nil, "Reader": r.Reader == nil, "Recorder": r.Recorder == nil,
		"Ledger": r.Ledger == nil, "Doorbell": r.Doorbell == nil,
		"IsUnavailable": r.IsUnavailable == nil, "Redact": r.Redact == nil,
	} {
		if absent {
			missing = append(missing, fmt.Errorf("EmailCampaignReconciler: %s is required", name))
		}
	}
	for i, address := range r.TestRecipients {
		var err error
		if r.TestRecipients[i], err = recipients.ParseAddress(address); err != nil {
			missing = append(missing, fmt.Errorf("EmailCampaignReconciler: TestRecipients[%d]: %w", i, err))
		}
	}
	if r.Now == nil {
		r.Now = time.Now
	}
	r.NoProgressAfter = cmp.Or(r.NoProgressAfter, DefaultNoProgressAfter)
	r.DeletionPatience = cmp.Or(r.DeletionPatience, DefaultDeletionPatience)
	return errors.Join(missing...)
}

// Reconcile is a table of contents: the steps are in the files beside, what becomes of their errors in outcome.go.
func (r *EmailCampaignReconciler) Reconcile(ctx context.Context, req ctrl.Request) (res ctrl.Result, err error) {
	defer func() { err = unlessStopped(ctx, err) }()
	defer r.followed.begins(req.NamespacedName)()
	object := &v1alpha1.EmailCampaign{}
	if err := r.Client.Get(ctx, req.NamespacedName, object); err != nil {
		if apierrors.IsNotFound(err) {
			r.followed.forget(req.NamespacedName)
			r.newest.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	object = r.newest.of(object)
	now := r.Now()
	if res, rests := r.rests(object, now); rests {
		return res, nil
	}
	if err := r.whole(ctx, object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !object.DeletionTimestamp.IsZero() {
		return r.reconcileDelete(ctx, newScope(object, now))
	}
	s := newScope(object, now)
	if has, err := r.ensureFinalizer(ctx, s); err != nil {
		return ctrl.Result{}, err
	} else if !has {
		return ctrl.Result{RequeueAfter: afterConflict}, nil
	}

	defer func() {
		if res, err = r.finish(ctx, s, err); err == nil {
			res, err = r.retire(ctx, s, s.sooner(res))
		}
	}()
	err = guarded(ctx, s, r.steps(s)...)
	s.forgetUnlessAccepted(err)
	return ctrl.Result{}, errors.Join(err, guarded(ctx, s, r.observe, r.compare, r.judge))
}

// unlessEnded is a step of steps that a campaign at its end has no more use for.
func (r *EmailCampaignReconciler) unlessEnded(steps ...step) step {
	return func(ctx context.Context, s *scope) error {
		if r.ended(s) {
			return nil
		}
		return runSteps(ctx, s, steps...)
	}
}

// ensureFinalizer sees to it that the object has the finalizer before anything else is done: no row is written for one that
// could vanish unseen. A campaign at its end needs none. It reports false where the object was changed or deleted meanwhile,
// and the loop is over.
func (r *EmailCampaignReconciler) ensureFinalizer(ctx context.Context, s *scope) (bool, error) {
	if s.object.Status.TerminalState != "" && !r.asked(s.object) || !controllerutil.AddFinalizer(s.object, v1alpha1.Finalizer) {
		return true, nil
	}
	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	err := failpoint.After(failpoint.OperatorFinalizerWritten, r.Client.Patch(ctx, s.object, patch))
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err): // by a change that wanted may not let through
		return false, nil
	case err != nil:
		return false, fmt.Errorf("adding the finalizer: %w", err)
	}
	r.newest.note(s.object, s.now)
	s.before = s.object.DeepCopy()
	return true, nil
}

// wanted lets everything through but what says nothing to this controller: campaigns that rest for good when it first sees
// them, and the updates of the status and of finalizers, which it makes itself unless somebody takes its own away before its
// time, of labels, and of other people's annotations. An update may be of another object: one deleted and applied again while
// the watch was down. Every update tells what the cache has.
func (r *EmailCampaignReconciler) wanted() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			object, ok := e.Object.(*v1alpha1.EmailCampaign)
			if !ok {
				return true
			}
			res, rests := r.rests(object, r.Now())
			return !rests || res.RequeueAfter > 0
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			r.newest.seen(e.ObjectNew)
			lost := controllerutil.ContainsFinalizer(e.ObjectOld, v1alpha1.Finalizer) &&
				!controllerutil.ContainsFinalizer(e.ObjectNew, v1alpha1.Finalizer)
			if object, ok := e.ObjectNew.(*v1alpha1.EmailCampaign); ok && lost { // as retire takes it away
				_, rests := r.rests(object, r.Now())
				lost = !rests
			}
			return lost || e.ObjectOld.GetUID() != e.ObjectNew.GetUID() || e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
				!maps.Equal(ourAnnotations(e.ObjectOld), ourAnnotations(e.ObjectNew))
		},
	}
}

func ourAnnotations(object client.Object) map[string]string {
	ours := map[string]string{}
	for name, value := range object.GetAnnotations() {
		if strings.HasPrefix(name, annotationPrefix) {
			ours[name] = value
		}
	}
	return ours
}
