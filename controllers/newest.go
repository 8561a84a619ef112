package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

// newestAge is how long an object that was written is kept where the watch does not bring it; one that is further behind costs
// a conflict with each loop, no more.
const newestAge = 2 * time.Minute

// newest remembers objects as they were last written here, until the cache has them: a loop that starts from an older one
// runs into conflicts. Its zero value is ready.
type newest struct {
	mu      sync.Mutex
	objects map[types.NamespacedName]written
	swept   time.Time
}

// written is an object without its spec, which nobody writes here and the cache has: lists of recipients would be there twice.
// Of a campaign that has ended it is what the cache would keep.
type written struct {
	object *v1alpha1.EmailCampaign
	at     time.Time
}

// note remembers what the API server has answered to a write.
func (n *newest) note(object *v1alpha1.EmailCampaign, now time.Time) {
	kept := *object
	kept.Spec, kept.ManagedFields = v1alpha1.EmailCampaignSpec{}, nil
	if object.Status.TerminalState != "" {
		kept = atRest(object)
	}
	slimmed := kept.DeepCopy()
	_, _ = Slim(slimmed) // it never fails
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.objects == nil {
		n.objects = map[types.NamespacedName]written{}
	}
	if now.Sub(n.swept) >= time.Second { // not for every one of a thousand
		n.swept = now
		for name, w := range n.objects {
			if now.Sub(w.at) >= newestAge {
				delete(n.objects, name)
			}
		}
	}
	n.objects[client.ObjectKeyFromObject(object)] = written{object: slimmed, at: now}
}

// of is the object as it was written here, if that is newer than what the cache has of it. Of one whose spec somebody has
// edited just before, the cache's is used until it has the edit: that costs a conflict.
func (n *newest) of(cached *v1alpha1.EmailCampaign) *v1alpha1.EmailCampaign {
	name := client.ObjectKeyFromObject(cached)
	n.mu.Lock()
	defer n.mu.Unlock()
	w, there := n.objects[name]
	if !there {
		return cached
	}
	order, err := resourceversion.CompareResourceVersion(w.object.ResourceVersion, cached.ResourceVersion)
	if err != nil || order <= 0 || w.object.UID != cached.UID {
		delete(n.objects, name)
		return cached
	}
	if w.object.Generation != cached.Generation {
		return cached
	}
	object := w.object.DeepCopy()
	if object.Status.TerminalState == "" {
		object.Spec = cached.Spec
	}
	return object
}

// seen is for an object that the cache has now: what is not newer need not be remembered.
func (n *newest) seen(cached client.Object) {
	name := client.ObjectKeyFromObject(cached)
	n.mu.Lock()
	defer n.mu.Unlock()
	if w, there := n.objects[name]; there && w.object.UID == cached.GetUID() {
		order, err := resourceversion.CompareResourceVersion(w.object.ResourceVersion, cached.GetResourceVersion())
		if err == nil && order <= 0 {
			delete(n.objects, name)
		}
	}
}

// forget is for an object that nothing more will be written to.
func (n *newest) forget(name types.NamespacedName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.objects, name)
}
