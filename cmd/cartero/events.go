package main

import (
	"context"
	"fmt"

	eventsv1 "k8s.io/api/events/v1"
	eventsv1client "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// eventsAtOnce is how many events are written at a time. client-go writes all that there are at once, so that those of a
// thousand campaigns would keep the API server from what the campaigns wait for.
const eventsAtOnce = 4

// paced writes few new events at a time; the others wait in memory.
type paced struct {
	events.EventSink
	slots chan struct{}
}

func newPaced(sink events.EventSink) *paced {
	return &paced{EventSink: sink, slots: make(chan struct{}, eventsAtOnce)}
}

// Create implements events.EventSink. The few updates of repeated events do not wait: client-go holds a lock meanwhile.
func (p *paced) Create(ctx context.Context, event *eventsv1.Event) (*eventsv1.Event, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil //nolint:nilnil // the process ends: an error would be logged for each that waits
	}
	defer func() { <-p.slots }()
	return p.EventSink.Create(ctx, event)
}

// newRecorder starts what writes events; stop ends it, and drops what was not written yet.
func newRecorder(ctx context.Context, mgr ctrl.Manager) (recorder events.EventRecorder, stop func(), err error) {
	clients, err := eventsv1client.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, nil, fmt.Errorf("writing events: %w", err)
	}
	broadcaster := events.NewBroadcaster(newPaced(&events.EventSinkImpl{Interface: clients}))
	ctx, cancel := context.WithCancel(log.IntoContext(context.WithoutCancel(ctx), mgr.GetLogger()))
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		cancel()
		return nil, nil, fmt.Errorf("writing events: %w", err)
	}
	stopLogging, err := broadcaster.StartLogging(mgr.GetLogger().V(1))
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("logging events: %w", err)
	}
	return broadcaster.NewRecorder(mgr.GetScheme(), "cartero-operator"), func() { broadcaster.Shutdown(); stopLogging(); cancel() }, nil
}
