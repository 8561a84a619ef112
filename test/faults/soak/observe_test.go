package main

import (
	"context"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/test/faults/check"
)

// observer writes what it sees of the campaigns into the history.
type observer struct {
	*world

	// versions are the resource versions seen last, by UID.
	versions map[string]string
}

// watch looks every half second until the end.
func (o *observer) watch(end <-chan struct{}) {
	for {
		o.look(false)
		select {
		case <-end:
			return
		default:
			pause(500*time.Millisecond, end)
		}
	}
}

// look writes the campaigns that have changed since the last look, or all of them, and returns them.
func (o *observer) look(all bool) []v1alpha1.EmailCampaign {
	var list v1alpha1.EmailCampaignList
	if err := o.cluster.Client.List(context.Background(), &list, client.InNamespace(o.namespace)); err != nil {
		o.Errorf("Listing campaigns: %v", err)
		return nil
	}
	there := map[string]bool{}
	for _, c := range list.Items {
		uid := string(c.UID)
		there[uid] = true
		if all || o.versions[uid] != c.ResourceVersion {
			o.versions[uid] = c.ResourceVersion
			o.write(c)
		}
	}
	for uid := range o.versions {
		if !there[uid] {
			delete(o.versions, uid)
			o.add(check.Event{Kind: check.KindGone, Note: uid})
		}
	}
	return list.Items
}

func (o *observer) write(c v1alpha1.EmailCampaign) {
	text, err := json.Marshal(c.Status)
	if err != nil {
		o.Errorf("Writing a status: %v", err)
	}
	seen := &check.Status{
		Name: c.Name, UID: string(c.UID), ResourceVersion: c.ResourceVersion, Key: c.Status.CampaignKey, Generation: c.Generation,
		ObservedGeneration: c.Status.ObservedGeneration, Deleting: c.DeletionTimestamp != nil, Conditions: map[string]string{},
		Text: string(text),
	}
	for _, condition := range c.Status.Conditions {
		seen.Conditions[condition.Type] = string(condition.Status)
	}
	if r := c.Status.Recipients; r != nil {
		seen.Counts = map[string]int64{
			"total": r.Total, "pending": r.Pending, "active": r.Active, "deferred": r.Deferred, "accepted": r.Accepted, "bounced": r.Bounced,
			"failed": r.Failed, "suppressed": r.Suppressed, "cancelled": r.Cancelled, "inDoubt": r.InDoubt,
		}
	}
	o.add(check.Event{Kind: check.KindStatus, Status: seen})
}

// told writes the events of Kubernetes into the history.
func (o *observer) told() {
	var list corev1.EventList
	if err := o.cluster.Client.List(context.Background(), &list, client.InNamespace(o.namespace)); err != nil {
		o.Errorf("Listing events: %v", err)
	}
	for _, e := range list.Items {
		o.add(check.Event{Kind: check.KindTold, Note: e.Reason + " " + e.Message})
	}
}

// unfinished are the names of campaigns that have not ended, or are being deleted.
func (o *observer) unfinished(ctx context.Context) []string {
	var list v1alpha1.EmailCampaignList
	if err := o.cluster.Client.List(ctx, &list, client.InNamespace(o.namespace)); err != nil {
		return []string{err.Error()}
	}
	var names []string
	for _, c := range list.Items {
		if c.Status.TerminalState == "" || c.DeletionTimestamp != nil {
			names = append(names, c.Name)
		}
	}
	return names
}
