package controllers

import (
	"encoding/json"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

// maxDeclarations bounds the memory; beyond it something may be fetched again.
const maxDeclarations = 10_000

// declarations remembers of sealed campaigns that name files on the web what of them decides on the content. An edit of
// anything else is then no reason to fetch again: the URL may be good for one day. Its zero value is ready.
type declarations struct {
	mu     sync.Mutex
	hashes map[types.UID]string
}

// same reports whether what is sealed was read for the same declaration.
func (d *declarations) same(s *scope) bool {
	if !s.holds() || !s.ours() || !fromWeb(s.object) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	known, there := d.hashes[s.object.UID]
	return there && known == declaration(s.object)
}

// note remembers the declaration of a sealed campaign.
func (d *declarations) note(s *scope) {
	if !fromWeb(s.object) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hashes == nil || len(d.hashes) >= maxDeclarations {
		d.hashes = map[types.UID]string{}
	}
	d.hashes[s.object.UID] = declaration(s.object)
}

// fromWeb reports whether a part of the campaign is fetched.
func fromWeb(object *v1alpha1.EmailCampaign) bool {
	for _, attachment := range object.Spec.Message.Attachments {
		if attachment.URLRef != nil {
			return true
		}
	}
	return object.Spec.Recipients.URLRef != nil
}

// declaration identifies what of the object decides on the content.
func declaration(object *v1alpha1.EmailCampaign) string {
	spec := object.Spec
	text, err := json.Marshal([]any{spec.Message, spec.Recipients, spec.Category, spec.Suppression, spec.Unsubscribe, jobSize(object)})
	if err != nil { // strings, numbers and maps of strings always marshal
		panic(fmt.Sprintf("marshalling a campaign: %v", err))
	}
	return hashOf(text)
}
