package dependencies

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/test/faults/proxy"
	"github.com/cartero-mail/cartero/test/faults/proxy/kube"
	"github.com/cartero-mail/cartero/test/harness"
)

// TestEachCallFails has the operator's calls refused, cut, and their answers lost, at every place of a campaign's life. A plain
// run has three of the ways.
func TestEachCallFails(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.startOperator(nil)
	s.startWorker(nil)
	calls := map[string]func(string) func(kube.Request) bool{
		"finalizer": func(name string) func(kube.Request) bool { return kube.Calls("/"+name, "PATCH") },
		"status":    func(name string) func(kube.Request) bool { return kube.Calls("/"+name+"/status", "PATCH") },
		"list":      func(name string) func(kube.Request) bool { return kube.Calls("/"+name+"-list", "GET") },
		"event":     func(string) func(kube.Request) bool { return kube.Calls("/events", "POST") },
	}
	for fault, rule := range map[string]kube.Rule{
		"conflict":    {Do: proxy.Answer, Reply: kube.Conflict, Times: 2},
		"too-many":    {Do: proxy.Answer, Reply: kube.TooMany, Times: 2},
		"internal":    {Do: proxy.Answer, Reply: kube.Internal, Times: 2},
		"timeout":     {Do: proxy.Answer, Reply: kube.Timeout},
		"unavailable": {Do: proxy.Answer, Reply: kube.Unavailable},
		"lost":        {Do: proxy.Lose, Times: 2},
		"cut":         {Do: proxy.Cut},
	} {
		if !everything() && fault != "conflict" && fault != "internal" && fault != "lost" {
			continue
		}
		name := "refused-" + fault
		hits := map[string]*kube.Armed{}
		for call, match := range calls {
			rule.Match = match(name)
			hits[call] = s.api.Arm(rule)
		}
		s.world.Send(name, people(name, 2*jobSize), jobSize)
		for call, armed := range hits {
			if call == "event" { // told after the status is written, and not again
				continue
			}
			t.Logf("%s: %s", name, call)
			armed.Await(t, 1)
		}
		s.judge(name, 2*jobSize)
		s.api.DisarmAll()
	}
}

// TestFrozenWatches: watches say nothing more, without being cut. What the operator knows of it goes on and ends.
func TestFrozenWatches(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.startOperator(nil)
	sealed := make(chan struct{})
	s.world.Relay.OnMail(func(int) { <-sealed })
	s.startWorker(nil)
	s.world.Send("frozen", people("frozen", 3*jobSize), jobSize)
	s.world.AwaitCondition("frozen", v1alpha1.ConditionEnqueued, v1alpha1.ReasonEnqueued)
	s.api.Freeze()
	close(sealed)
	s.judge("frozen", 3*jobSize)
	s.world.Send("unseen", people("unseen", 3*jobSize), jobSize)
	s.api.AwaitKept(t)
	s.api.Thaw()
	s.judge("unseen", 3*jobSize)
	s.stays("frozen")
	s.stays("unseen")
}

// TestReplacedUnseen: an object is deleted and another of its name created, with another key, while watches say nothing. What
// the operator still believes of the old one must not come to the new one, which is another campaign.
func TestReplacedUnseen(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.startOperator(nil)
	s.startWorker(nil)
	s.worker.Await("Taking jobs")
	gate, rest := make(chan struct{}), make(chan struct{})
	s.world.Relay.OnMail(func(n int) {
		<-gate
		if n > jobSize {
			<-rest
		}
	})
	s.world.Send("name", people("name", 2*jobSize), jobSize)
	s.world.AwaitCondition("name", v1alpha1.ConditionEnqueued, v1alpha1.ReasonEnqueued)
	s.api.Freeze()
	old := s.world.Campaign("name")
	old.Finalizers = nil // by hand, as somebody in a hurry does
	ctx := t.Context()
	if err := s.world.Cluster.Client.Update(ctx, old); err != nil {
		t.Fatal(err)
	}
	if err := s.world.Cluster.Client.Delete(ctx, old); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the old object is gone", func() bool {
		err := s.world.Cluster.Client.Get(ctx, client.ObjectKeyFromObject(old), &v1alpha1.EmailCampaign{})
		return apierrors.IsNotFound(err)
	})
	list := &corev1.ConfigMap{Data: map[string]string{"list": ""}}
	list.Namespace, list.Name = s.world.Namespace, "other-list"
	for _, address := range people("other", 2*jobSize) {
		list.Data["list"] += address + "\n"
	}
	fresh := kubetest.NewCampaign(s.world.Namespace, "name").
		WithMessage(v1alpha1.Message{From: &v1alpha1.Mailbox{Address: harness.Sender}, Subject: "Other news", Text: "There is other news.\n"}).
		WithConfigMap(list.Name, "list", v1alpha1.FormatLines).WithJobSize(jobSize).
		With(func(c *v1alpha1.EmailCampaign) { c.Spec.CampaignKey = s.world.Namespace + "/other" }).Obj()
	for _, object := range []client.Object{list, fresh} {
		if err := s.world.Cluster.Client.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	stale := s.api.Arm(kube.Rule{Match: kube.Calls("/name/status", "PATCH"), Do: proxy.Hold, Delay: 1, Times: proxy.Always})
	close(gate)
	stale.Await(t, 1) // the operator tells the old one's progress
	close(rest)
	stale.Await(t, 2) // and its end; so the first was answered
	if status := s.world.Campaign("name").Status; status.ObservedGeneration > 0 || status.Recipients != nil {
		t.Errorf("the new object has the old one's status: %+v", status)
	}
	s.api.Thaw()
	s.world.AwaitCondition("name", v1alpha1.ConditionComplete, v1alpha1.ReasonCompleted)
	got := s.world.Campaign("name")
	if got.UID != fresh.UID || got.Status.CampaignKey != s.world.Namespace+"/other" {
		t.Errorf("the object's campaign is %s", got.Status.CampaignKey)
	}
	mails := s.world.Relay.Recipients()
	for _, campaign := range []string{"name", "other"} {
		for _, address := range people(campaign, 2*jobSize) {
			if mails[address] != 1 {
				t.Errorf("somebody of %s has %d mails", campaign, mails[address])
			}
		}
	}
	s.world.AwaitJobs(s)
}

// TestWatchTooOld: a watch that is refused as too old is begun anew, with all that happened meanwhile.
func TestWatchTooOld(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.startOperator(nil)
	s.startWorker(nil)
	s.operator.Await("Starting workers")
	s.api.Freeze()
	for i := range 2 { // unobserved: it comes, goes, and comes again
		s.world.Send("fleeting", people("fleeting", 2*jobSize), jobSize)
		if i == 0 {
			s.api.AwaitKept(t)
			for _, object := range []client.Object{&v1alpha1.EmailCampaign{}, &corev1.ConfigMap{}} {
				object.SetNamespace(s.world.Namespace)
				object.SetName("fleeting")
				if _, is := object.(*corev1.ConfigMap); is {
					object.SetName("fleeting-list")
				}
				if err := s.world.Cluster.Client.Delete(t.Context(), object); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	expired := s.api.Arm(kube.Rule{Match: kube.Watches("emailcampaigns"), Do: proxy.Answer, Reply: kube.ExpiredWatch, Times: 2})
	s.api.CutWatches()
	expired.Await(t, 1)
	s.api.Thaw()
	s.judge("fleeting", 2*jobSize)
}

// stays: when nothing changes any more, nobody writes any more.
func (s *stage) stays(name string) {
	s.Helper()
	var version string
	quiet := 0
	harness.Eventually(s, fmt.Sprintf("campaign %s rests", name), func() bool {
		object := &v1alpha1.EmailCampaign{}
		key := types.NamespacedName{Namespace: s.world.Namespace, Name: name}
		if err := s.world.Cluster.Client.Get(s.Context(), key, object); err != nil {
			s.Fatal(err)
		}
		if object.ResourceVersion != version {
			version, quiet = object.ResourceVersion, 0
		}
		quiet++
		return quiet == 60 // looks, some three seconds: longer than the operator's loop
	})
}
