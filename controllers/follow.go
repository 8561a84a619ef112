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
	// quietRounds are how often an end is passed over: the status was just written, and is not written again so soon.
	quietRounds = int(statusInterval / endsInterval)
	// progressShare and endsShare are the parts of the reconcilers, as one of that many, that are busy with progress and with
	// ends where there is more to do than can be done: what people apply and edit is not to wait behind hundreds of them.
	progressShare = 10
	endsShare     = 5
)

// followed are the campaigns that are being sent. Its zero value is ready.
type followed struct {
	// reconcilers is how many loops run at once.
	reconcilers int

	mu      sync.Mutex
	objects map[types.NamespacedName]follow
	// awaited are those of which the end was told and whose loop has not begun. Until it is over, each has one of the places.
	awaited map[types.NamespacedName]bool
	places  chan struct{}
	// took is how long a loop takes, as an average of the last.
	took time.Duration
}

type follow struct {
	key string
	// told: the reconciler knows already that it is worked off.
	told bool
	// rounds is how often it was asked after since its progress was read.
	rounds int
}

// begins is for an object whose loop begins. What it returns is to be called when that is over.
func (f *followed) begins(name types.NamespacedName) (over func()) {
	began := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	awaited := f.awaited[name]
	delete(f.awaited, name)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if awaited {
			<-f.places
		}
		const weight = 16
		f.took += (min(time.Since(began), progressInterval) - f.took) / weight // a long list says nothing of the others
	}
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
	each := max(perCampaign, progressShare*f.took/time.Duration(max(1, f.reconcilers)))
	return max(progressInterval, time.Duration(len(f.objects))*each)
}

// await gives an object one of the places, and waits for one to be free; false where ctx is over first.
func (f *followed) await(ctx context.Context, name types.NamespacedName) bool {
	f.mu.Lock()
	if f.awaited == nil {
		f.awaited, f.places = map[types.NamespacedName]bool{}, make(chan struct{}, max(1, f.reconcilers/endsShare))
	}
	places, waits := f.places, f.awaited[name]
	f.mu.Unlock()
	if waits {
		return true
	}
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.awaited[name] = true
	return true
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
		one.rounds++
		tell := over[one.key] && !one.told && one.rounds > quietRounds
		if tell {
			news = append(news, name)
		}
		one.told = over[one.key] && (one.told || tell)
		f.objects[name] = one
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
			if !r.followed.await(ctx, name) {
				return nil
			}
			select {
			case events <- event.GenericEvent{Object: object}:
			case <-ctx.Done():
				return nil
			}
		}
	}
}
