package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

// unseen is the state, in metrics, of a campaign that the operator has not written a status for.
const unseen = "Unseen"

// errNotSynced: the cache has not seen all campaigns yet.
var errNotSynced = errors.New("counting campaigns: the cache is not filled yet")

// States counts campaigns by their state, the reason of their condition Ready, as the cache sees them come and go: to list ten
// thousand at each scrape would cost ten megabytes of garbage.
type States struct {
	mu     sync.Mutex
	counts map[string]float64
	synced func() bool
}

// CountStates counts the campaigns of a cache that need not be started yet, for as long as it runs.
func CountStates(ctx context.Context, informers cache.Informers) (*States, error) {
	informer, err := informers.GetInformer(ctx, &v1alpha1.EmailCampaign{})
	if err != nil {
		return nil, fmt.Errorf("counting campaigns: %w", err)
	}
	s := &States{counts: map[string]float64{}}
	registration, err := informer.AddEventHandler(s)
	if err != nil {
		return nil, fmt.Errorf("counting campaigns: %w", err)
	}
	s.synced = registration.HasSynced
	return s, nil
}

// Read is the number of campaigns of each state that any is in. It fails until the cache has been filled.
func (s *States) Read(context.Context) (map[string]float64, error) {
	if !s.synced() {
		return nil, errNotSynced
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts), nil
}

// OnAdd implements cache.ResourceEventHandler.
func (s *States) OnAdd(object any, _ bool) { s.move(nil, object) }

// OnUpdate implements cache.ResourceEventHandler.
func (s *States) OnUpdate(before, after any) { s.move(before, after) }

// OnDelete implements cache.ResourceEventHandler.
func (s *States) OnDelete(object any) {
	if unseenEnd, ok := object.(toolscache.DeletedFinalStateUnknown); ok { // its object is the last that was counted
		object = unseenEnd.Obj
	}
	s.move(object, nil)
}

// move counts a campaign where it is now, and no more where it was.
func (s *States) move(before, after any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := before.(*v1alpha1.EmailCampaign); ok {
		state := stateInMetrics(c)
		if s.counts[state]--; s.counts[state] == 0 {
			delete(s.counts, state)
		}
	}
	if c, ok := after.(*v1alpha1.EmailCampaign); ok {
		s.counts[stateInMetrics(c)]++
	}
}

func stateInMetrics(c *v1alpha1.EmailCampaign) string {
	if ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return unseen
}
