package controllers

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

const (
	// perCampaign is how much later each campaign's progress is read for every one that is being sent: a thousand at once cost
	// the database no more than forty.
	perCampaign = 50 * time.Millisecond
	// endsInterval is how often all of them are asked after at once, so that an end is not noticed late.
	endsInterval = time.Second
)

// followed are the campaigns that are being sent. Its zero value is ready.
type followed struct {
	mu      sync.Mutex
	objects map[types.NamespacedName]follow
}

type follow struct {
	key string
	// told: the reconciler knows already that it is worked off.
	told bool
}

// interval counts the campaign in while it is being sent, and is how often the progress of one that is gets read.
func (f *followed) interval(s *scope) time.Duration {
	name := client.ObjectKeyFromObject(s.object)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.objects == nil {
		f.objects = map[types.NamespacedName]follow{}
	}
	if s.sealed() && s.tally != nil && !s.done() && lookAgain(s, progressInterval) == progressInterval {
		f.objects[name] = follow{key: s.key, told: f.objects[name].told}
	} else {
		delete(f.objects, name)
	}
	return max(progressInterval, time.Duration(len(f.objects))*perCampaign)
}

// forget is for an object that is gone.
func (f *followed) forget(name types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, name)
}

// keys are those of the campaigns, each once.
func (f *followed) keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys := make([]string, 0, len(f.objects))
	for _, one := range f.objects {
		keys = append(keys, one.key)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// news are the objects whose campaigns are worked off now and were not before.
func (f *followed) news(workedOff []string) []types.NamespacedName {
	over := map[string]bool{}
	for _, key := range workedOff {
		over[key] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var news []types.NamespacedName
	for name, one := range f.objects {
		if over[one.key] && !one.told {
			news = append(news, name)
		}
		f.objects[name] = follow{key: one.key, told: over[one.key]}
	}
	return news
}

// watchEnds has campaigns looked at as soon as they are worked off, with one question for all of them, until ctx is done. It
// only hastens what the progress of each would tell: while the database is away, nothing is missed.
func (r *EmailCampaignReconciler) watchEnds(ctx context.Context, events chan<- event.GenericEvent) error {
	ticker := time.NewTicker(endsInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		keys := r.followed.keys()
		if len(keys) == 0 {
			continue
		}
		workedOff, err := r.Ledger.WorkedOff(ctx, keys)
		if err != nil {
			log.FromContext(ctx).V(1).Info("Looking for campaigns that are worked off failed", "err", err)
			continue
		}
		for _, name := range r.followed.news(workedOff) {
			object := &v1alpha1.EmailCampaign{}
			object.Namespace, object.Name = name.Namespace, name.Name
			select {
			case events <- event.GenericEvent{Object: object}:
			case <-ctx.Done():
				return nil
			}
		}
	}
}
