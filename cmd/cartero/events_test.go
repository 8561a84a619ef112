package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/internal/options"
)

// eventServer takes a second for each event, and answers with what it is told to.
type eventServer struct {
	mu        sync.Mutex
	now, most int
	tries     int
	answers   []error // of the first tries; nil for all others
	written   []*eventsv1.Event
}

func (s *eventServer) create(ctx context.Context, event *eventsv1.Event) error {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	s.tries++
	if s.tries <= len(s.answers) && s.answers[s.tries-1] != nil {
		return s.answers[s.tries-1]
	}
	s.written = append(s.written, event)
	return nil
}

// recorderOf writes to the server; log gets what is worth a look.
func recorderOf(t *testing.T, server *eventServer) (r *recorder, log *bytes.Buffer) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	log = &bytes.Buffer{}
	return &recorder{
		create: server.create, scheme: scheme, instance: "cartero-operator-pod",
		logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})),
	}, log
}

func (r *recorder) tell(times int) {
	object := kubetest.NewCampaign("growth", "launch").Obj()
	for i := range times {
		r.Eventf(object, nil, corev1.EventTypeNormal, v1alpha1.EventCampaignAccepted, "Accept", "number %d", i)
	}
}

func TestEventsAreWrittenInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const many = 10 * eventsAtOnce
		server := &eventServer{}
		r, log := recorderOf(t, server)
		stop := r.start(t.Context())
		r.tell(many)
		<-time.After(many * time.Second)
		stop()
		if server.most != eventsAtOnce || len(server.written) != many || log.Len() != 0 {
			t.Errorf("%d at once, %d of %d in all, log: %s", server.most, len(server.written), many, log)
		}
	})
}

func TestWhatIsWrittenOfAnEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &eventServer{}
		r, _ := recorderOf(t, server)
		stop := r.start(t.Context())
		object := kubetest.NewCampaign("growth", "launch").Obj()
		object.UID, object.ResourceVersion = "uid", "42"
		at := time.Now()
		r.Eventf(object, nil, corev1.EventTypeWarning, v1alpha1.EventCampaignFailed, "Send", "%d failed", 3)
		stop()
		want := []*eventsv1.Event{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "growth", Name: fmt.Sprintf("launch.%x", at.UnixNano())},
			EventTime:  metav1.NewMicroTime(at), ReportingController: "cartero-operator", ReportingInstance: "cartero-operator-pod",
			Type: "Warning", Reason: v1alpha1.EventCampaignFailed, Action: "Send", Note: "3 failed",
			Regarding: corev1.ObjectReference{
				Kind: "EmailCampaign", APIVersion: "mail.cartero.dev/v1alpha1", Namespace: "growth", Name: "launch", UID: "uid", ResourceVersion: "42",
			},
		}}
		if diff := cmp.Diff(want, server.written); diff != "" {
			t.Errorf("written (-want +got):\n%s", diff)
		}
	})
}

// The API server takes what is written, and kubectl finds it.
func TestEventsOnAnAPIServer(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	logger := slog.New(slog.DiscardHandler)
	mgr, err := newManager(cluster.Config, options.Operator{}, &process{logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	r, stop, err := newRecorder(t.Context(), mgr, logger)
	if err != nil {
		t.Fatal(err)
	}
	object := kubetest.NewCampaign(cluster.Namespace(t), "launch").Obj()
	r.Eventf(object, nil, corev1.EventTypeNormal, v1alpha1.EventCampaignAccepted, "Accept", "%s", strings.Repeat("ñ", eventNote))
	stop()
	if n := r.dropped.Load(); n != 0 {
		t.Errorf("%d are dropped", n)
	}
	got := cluster.MustKubectl(t, "", "get", "events.v1.events.k8s.io", "--namespace", object.Namespace,
		"--output=jsonpath={range .items[*]}{.regarding.name} {.type} {.reason} {.note}{end}")
	want := "launch Normal CampaignAccepted " + shortened(strings.Repeat("ñ", eventNote))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestEventsThatAreNotTaken(t *testing.T) {
	t.Parallel()
	away, busy := errors.New("connection refused"), apierrors.NewTooManyRequestsError("later")
	gone := apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", errors.New("it is being deleted"))
	for _, tc := range []struct {
		name           string
		answers        []error
		tries, written int
		log            string
	}{
		{"the API server is away for a while", []error{away, away}, 3, 1, ""},
		{"it has too much to do", []error{busy}, 2, 1, ""},
		{"it took one whose answer was lost", []error{away, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "events"}, "launch.1")}, 2, 0, ""},
		{"it refuses one", []error{gone}, 1, 0, "Writing an event failed"},
		{"it is away for long", []error{away, away, away, away, away, away, away, away, away, away, away, away}, eventTries, 0, "Writing an event failed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := &eventServer{answers: tc.answers}
				r, log := recorderOf(t, server)
				stop := r.start(t.Context())
				r.tell(1)
				<-time.After(time.Hour)
				stop()
				if server.tries != tc.tries || len(server.written) != tc.written || !strings.Contains(log.String(), tc.log) || tc.log == "" && log.Len() > 0 {
					t.Errorf("%d tries, %d written, log: %s", server.tries, len(server.written), log)
				}
			})
		})
	}
}

// What waits when the operator stops is written, for as long as there is time, and the rest is told as a number.
func TestEventsAtTheEnd(t *testing.T) {
	t.Parallel()
	const inTime = eventsAtOnce * int(eventsGrace/time.Second)
	for _, tc := range []struct {
		name           string
		told, atLeast  int
		wantLog        string
		toldAfterwards int
	}{
		{name: "few", told: inTime - eventsAtOnce, atLeast: inTime - eventsAtOnce},
		{name: "many", told: 3 * inTime, atLeast: inTime - eventsAtOnce, wantLog: "level=WARN msg=\"Events were not written\" dropped="},
		{name: "too late", toldAfterwards: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := &eventServer{}
				r, log := recorderOf(t, server)
				ctx, cancel := context.WithCancel(t.Context())
				stop := r.start(ctx)
				r.tell(tc.told)
				cancel() // as a signal does
				began := time.Now()
				stop()
				if took := time.Since(began); took > eventsGrace || len(server.written) < tc.atLeast {
					t.Errorf("it took %s, %d of %d are written", took, len(server.written), tc.told)
				}
				r.tell(tc.toldAfterwards)
				if missing := tc.told + tc.toldAfterwards - len(server.written); int64(missing) != r.dropped.Load() {
					t.Errorf("%d are missing, %d were counted", missing, r.dropped.Load())
				}
				if !strings.HasPrefix(log.String(), tc.wantLog) || tc.wantLog == "" && log.Len() > 0 {
					t.Errorf("log: %s", log)
				}
			})
		})
	}
}

// Where the API server is away, memory does not grow without end.
func TestTooManyEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &eventServer{}
		r, log := recorderOf(t, server)
		stop := r.start(t.Context())
		r.tell(eventsAtOnce)
		synctest.Wait() // each writer has one
		r.tell(eventsWaiting + 2)
		want := "level=WARN msg=\"Events are dropped: too many wait to be written\" waiting=10000\n"
		if r.dropped.Load() != 2 || log.String() != want {
			t.Errorf("%d are dropped, log: %s", r.dropped.Load(), log)
		}
		stop()
	})
}

func TestNotesAreShortened(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ note, want string }{
		{"short", "short"},
		{strings.Repeat("x", 1024), strings.Repeat("x", 1024)},
		{strings.Repeat("x", 1025), strings.Repeat("x", 1021) + "…"},
		{strings.Repeat("ñ", 600), strings.Repeat("ñ", 510) + "…"},
	} {
		if got := shortened(tc.note); got != tc.want {
			t.Errorf("%d bytes: %d", len(tc.note), len(got))
		}
	}
}
