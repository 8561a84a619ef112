package faults

import (
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cartero-mail/cartero/test/harness"
)

// electing has operators choose one of them, by a Lease in the world's namespace.
func electing(w *harness.World) harness.Env {
	return harness.Env{"LEADER_ELECT": "true", "LEADER_ELECTION_NAMESPACE": w.Namespace}
}

const (
	leads  = "Successfully acquired lease"
	stands = "Attempting to acquire leader lease"
)

// twoOperators starts two operators, of which the first leads, and a worker; and has the first in the middle of writing a list
// of so many people.
func twoOperators(t *testing.T, people int) (w *harness.World, leader, other *harness.Process) {
	t.Helper()
	harness.Binary(t)
	w = harness.NewWorld(t, harness.RealServices(t))
	leader = w.StartOperator(electing(w))
	leader.Await(leads)
	other = w.StartOperator(electing(w))
	other.Await(stands)
	w.StartWorker(t.TempDir(), nil)
	w.Send("handed-over", harness.Addresses(people, "example.org"), 20)
	harness.Eventually(t, "the list is being written", func() bool { return len(w.Jobs(t)) > 0 })
	return w, leader, other
}

// holder is who has the Lease.
func holder(t *testing.T, w *harness.World) string {
	t.Helper()
	lease := &coordinationv1.Lease{}
	key := types.NamespacedName{Namespace: w.Namespace, Name: "operator.mail.cartero.dev"}
	if err := w.Cluster.Client.Get(t.Context(), key, lease); err != nil {
		t.Fatalf("Reading the Lease: %v", err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// sentOnce compares the campaign's end with its list.
func sentOnce(t *testing.T, w *harness.World, people int) {
	t.Helper()
	status := w.AwaitComplete("handed-over").Status
	if r := status.Recipients; r.Total != int64(people) || r.Accepted != int64(people) {
		t.Errorf("status = %d recipients, %d accepted, want %d", r.Total, r.Accepted, people)
	}
	want := map[string]int{}
	for _, address := range harness.Addresses(people, "example.org") {
		want[address] = 1
	}
	if diff := cmp.Diff(want, w.Relay.Recipients()); diff != "" {
		t.Errorf("mails at the relay (-want +got):\n%s", diff)
	}
	w.AwaitJobs(t)
}

// TestFrozenLeader freezes the operator that leads while it writes a list, until another has taken over and written it. When
// it wakes up it does no harm, learns that it leads no more, and ends, so that Kubernetes starts it anew.
func TestFrozenLeader(t *testing.T) {
	t.Parallel()
	const people = 3000
	w, leader, other := twoOperators(t, people)
	leader.Signal(syscall.SIGSTOP)
	frozen := holder(t, w)
	if n := len(w.Jobs(t)); n == people/20 {
		t.Fatal("the list was written before its writer was frozen: it is to be longer")
	}
	other.Await(leads)
	w.AwaitCondition("handed-over", "Materialized", "Materialized")
	leader.Signal(syscall.SIGCONT) // in the middle of the other's work
	if code := leader.Wait(); code != 1 {
		t.Errorf("the operator that lost its lease ended with %d, want 1", code)
	}
	if now := holder(t, w); now == frozen || now == "" {
		t.Errorf("the Lease is held by %q, want the other operator", now)
	}
	sentOnce(t, w, people)
}

// TestLeaderStops sends SIGTERM to the operator that leads while it writes a list: it gives the Lease up as it ends, in order,
// and the other goes on.
func TestLeaderStops(t *testing.T) {
	t.Parallel()
	const people = 3000
	w, leader, other := twoOperators(t, people)
	stopped := holder(t, w)
	leader.Stop()
	if now := holder(t, w); now == stopped {
		t.Error("the Lease is still held by an operator that has ended")
	}
	if n := len(w.Jobs(t)); n == people/20 {
		t.Fatal("the list was written before its writer was stopped: it is to be longer")
	}
	other.Await(leads)
	sentOnce(t, w, people)
}
