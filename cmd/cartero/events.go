package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	eventsv1client "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/tools/record/util"
	"k8s.io/client-go/tools/reference"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	// eventsAtOnce is how many events are written at a time: those of a thousand campaigns would else keep the API server
	// from what the campaigns wait for.
	eventsAtOnce = 4
	// eventsWaiting is how many may wait in memory, at some 500 bytes each. What comes then is dropped, and counted.
	eventsWaiting = 10_000
	// eventTries bounds how often the API server is asked for one event while it does not answer: some two minutes.
	eventTries = 12
	// eventsGrace is how long those that wait are still written when the operator stops; the pod has a minute for all.
	eventsGrace = 5 * time.Second
	// eventNote is how long a note may be, in bytes.
	eventNote = 1024
	// reportingController is who tells.
	reportingController = "cartero-operator"
)

// happening is an event that waits to be written: far smaller than what is written.
type happening struct {
	regarding, related        *corev1.ObjectReference
	at                        time.Time
	eventType, reason, action string
	note                      string
}

// recorder implements events.EventRecorder. client-go's keeps each event for up to twelve minutes, with a goroutine while it
// waits, to make a series of what is repeated on the same version of an object: nothing is, as each event tells of a change.
type recorder struct {
	create   func(context.Context, *eventsv1.Event) error
	scheme   *runtime.Scheme
	instance string
	logger   *slog.Logger

	writers sync.WaitGroup
	dropped atomic.Int64

	mu      sync.Mutex // for the two below: nothing is put into a closed channel
	waiting chan *happening
	stopped bool
}

// newRecorder starts what writes events; stop, to be called when nobody tells anything any more, writes those that wait for
// at most eventsGrace, and says how many were dropped.
func newRecorder(ctx context.Context, mgr ctrl.Manager, logger *slog.Logger) (r *recorder, stop func(), err error) {
	clients, err := eventsv1client.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, nil, fmt.Errorf("writing events: %w", err)
	}
	host, _ := os.Hostname() // events go without it
	create := func(ctx context.Context, event *eventsv1.Event) error {
		_, err := clients.Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{})
		return err
	}
	r = &recorder{create: create, scheme: mgr.GetScheme(), instance: reportingController + "-" + host, logger: logger}
	return r, r.start(ctx), nil
}

// start starts the writers, which go on when ctx is over, until stop is called.
func (r *recorder) start(ctx context.Context) (stop func()) {
	r.waiting = make(chan *happening, eventsWaiting)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	for range eventsAtOnce {
		r.writers.Go(func() {
			for h := range r.waiting {
				r.write(ctx, h)
			}
		})
	}
	return func() {
		r.mu.Lock()
		r.stopped = true
		close(r.waiting)
		r.mu.Unlock()
		grace := time.AfterFunc(eventsGrace, cancel)
		r.writers.Wait()
		grace.Stop()
		cancel()
		if n := r.dropped.Load(); n > 0 {
			r.logger.Warn("Events were not written", "dropped", n)
		}
	}
}

// Eventf implements events.EventRecorder. It does not wait.
func (r *recorder) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	h := &happening{at: time.Now(), eventType: eventType, reason: reason, action: action, note: fmt.Sprintf(note, args...)}
	var err error
	if h.regarding, err = reference.GetReference(r.scheme, regarding); err != nil {
		r.logger.Error("An event is of something unknown", "reason", reason, "error", err)
		return
	}
	if related != nil {
		if h.related, err = reference.GetReference(r.scheme, related); err != nil {
			r.logger.Error("An event relates to something unknown", "reason", reason, "error", err)
		}
	}
	r.logger.Debug("Event", "kind", h.regarding.Kind, "namespace", h.regarding.Namespace, "name", h.regarding.Name,
		"type", eventType, "reason", reason, "action", action, "note", h.note)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		r.dropped.Add(1)
		return
	}
	select {
	case r.waiting <- h:
	default:
		if r.dropped.Add(1) == 1 {
			r.logger.Warn("Events are dropped: too many wait to be written", "waiting", eventsWaiting)
		}
	}
}

// write writes one event, and tries again while the API server does not answer. What is not written is counted.
func (r *recorder) write(ctx context.Context, h *happening) {
	event, pause := r.event(h), firstPause
	for try := 1; ; try++ {
		err := ctx.Err()
		if err == nil {
			err = r.create(ctx, event)
		}
		switch {
		case err == nil, apierrors.IsAlreadyExists(err): // by a try whose answer did not come
			return
		case ctx.Err() != nil: // told as a number in the end
			r.dropped.Add(1)
			return
		case refused(err), try == eventTries:
			r.dropped.Add(1)
			r.logger.Error("Writing an event failed", "reason", h.reason, "namespace", event.Namespace, "name", h.regarding.Name, "error", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		}
	}
}

// refused reports whether the API server would answer the same again.
func refused(err error) bool {
	var status *apierrors.StatusError
	return errors.As(err, &status) && !apierrors.IsTooManyRequests(err) && !apierrors.IsServiceUnavailable(err) &&
		!apierrors.IsServerTimeout(err) && !apierrors.IsTimeout(err) && !apierrors.IsInternalError(err)
}

// event is what is written of a happening.
func (r *recorder) event(h *happening) *eventsv1.Event {
	namespace := h.regarding.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: util.GenerateEventName(h.regarding.Name, h.at.UnixNano())},
		EventTime:  metav1.NewMicroTime(h.at), ReportingController: reportingController, ReportingInstance: r.instance,
		Type: h.eventType, Reason: h.reason, Action: h.action, Regarding: *h.regarding, Related: h.related, Note: shortened(h.note),
	}
}

// shortened cuts a note to what the API server takes, between two characters.
func shortened(note string) string {
	const more = "…"
	if len(note) <= eventNote {
		return note
	}
	end := eventNote - len(more)
	for !utf8.RuneStart(note[end]) {
		end--
	}
	return note[:end] + more
}
