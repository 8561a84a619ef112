package main

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

// ends counts the campaigns that have ended. It watches them: reading them all again and again would take the API server
// more time than the operator does.
type ends struct {
	mu       sync.Mutex
	seen     map[string]bool // by name; those that have ended
	complete int
	changed  chan struct{} // closed at the next end
}

// watchEnds counts until ctx is over.
func watchEnds(ctx context.Context, config *rest.Config, scheme *runtime.Scheme) (*ends, error) {
	e := &ends{seen: map[string]bool{}, changed: make(chan struct{})}
	watched, err := cache.New(config, cache.Options{
		Scheme: scheme, DefaultNamespaces: map[string]cache.Config{namespace: {}}, DefaultTransform: onlyEnd,
	})
	if err != nil {
		return nil, fmt.Errorf("watching campaigns: %w", err)
	}
	informer, err := watched.GetInformer(ctx, &v1alpha1.EmailCampaign{})
	if err != nil {
		return nil, fmt.Errorf("watching campaigns: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    e.note,
		UpdateFunc: func(_, object any) { e.note(object) },
	})
	if err != nil {
		return nil, fmt.Errorf("watching campaigns: %w", err)
	}
	go func() { _ = watched.Start(ctx) }() // it ends with ctx alone
	return e, nil
}

// onlyEnd leaves of a campaign what is counted.
func onlyEnd(object any) (any, error) {
	c, ok := object.(*v1alpha1.EmailCampaign)
	if !ok {
		return object, nil
	}
	kept := &v1alpha1.EmailCampaign{TypeMeta: c.TypeMeta}
	kept.Namespace, kept.Name, kept.ResourceVersion = c.Namespace, c.Name, c.ResourceVersion
	kept.Status.TerminalState = c.Status.TerminalState
	return kept, nil
}

func (e *ends) note(object any) {
	c, ok := object.(*v1alpha1.EmailCampaign)
	if !ok || c.Status.TerminalState == "" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen[c.Name] {
		return
	}
	e.seen[c.Name] = true
	if c.Status.TerminalState == v1alpha1.TerminalCompleted {
		e.complete++
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// count is how many have ended, how many of them are complete, and what is closed when there is another.
func (e *ends) count() (ended, complete int, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.seen), e.complete, e.changed
}
