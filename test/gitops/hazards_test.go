package gitops_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/test/harness"
)

func orphan(c *v1alpha1.EmailCampaign) { c.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }

// An object that its TTL deleted comes back with the next sync, and is not sent again.
func TestDeletedByItsTTLAndAppliedAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *v1alpha1.EmailCampaign) { c.Spec.TTLSecondsAfterFinished = new(int32(0)) }).running()
	s.apply(s.manifest)
	s.awaitGone()
	s.once()

	s.apply(s.manifestOf(s.Namespace)) // without TTL, to be seen
	s.awaitReady(v1alpha1.ReasonAlreadyCompleted)
	s.once()
	s.stays()
}

// Argo CD's Replace=true and BeforeHookCreation, and Flux's force, delete and create.
func TestForceReplacedAfterItsEnd(t *testing.T) {
	t.Parallel()
	s := newStage(t).running()
	s.apply(s.manifest)
	s.awaitReady(v1alpha1.ReasonCompleted)
	harness.Kubectl(t, s.Kubeconfig, s.manifest, "replace", "--force", "-f", "-")
	s.awaitReady(v1alpha1.ReasonAlreadyCompleted)
	s.once()
	s.stays()
}

func TestForceReplacedWhileItIsSent(t *testing.T) {
	t.Parallel()
	s := newStage(t, orphan).running()
	reached, release := s.hold(15)
	s.apply(s.manifest)
	s.await("15 mails", reached)
	harness.Kubectl(t, s.Kubeconfig, s.manifest, "replace", "--force", "-f", "-")
	s.AwaitCondition("launch", v1alpha1.ConditionMaterialized, v1alpha1.ReasonAdopted)
	release()
	s.awaitReady(v1alpha1.ReasonCompleted)
	s.once()
}

// Velero and an etcd that is restored bring objects back without status; their finalizers never ran.
func TestRestoredWithoutStatus(t *testing.T) {
	t.Parallel()
	s := newStage(t).running()
	reached, release := s.hold(15)
	s.apply(s.manifest)
	s.await("15 mails", reached)
	s.operator.Kill()
	s.kubectl("patch", "emailcampaign/launch", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	s.kubectl("delete", "emailcampaign/launch")
	s.apply(s.manifest)
	s.operator = s.StartOperator(nil)
	s.AwaitCondition("launch", v1alpha1.ConditionMaterialized, v1alpha1.ReasonAdopted)
	release()
	s.awaitReady(v1alpha1.ReasonCompleted)
	s.once()
}

func TestPrunedWhileItIsSent(t *testing.T) {
	t.Parallel()
	s := newStage(t).running()
	reached, release := s.hold(15)
	s.apply(s.manifest)
	s.await("15 mails", reached)
	s.kubectl("delete", "emailcampaign/launch", "--wait=false")
	s.awaitGone()
	// What was announced and no connection has begun is given back, and cancelled: of two connections, each with a mail
	// that waits for its reply and two behind it, there are six at most.
	harness.Eventually(t, "the worker has noticed", func() bool { return s.Claimed(t) <= 6 })
	release()

	s.apply(s.manifest) // who has an old commit
	s.AwaitCondition("launch", v1alpha1.ConditionFailed, v1alpha1.ReasonDeleted)
	s.stays()
	if n := s.Relay.Count(); n < 15 || n > 15+6+1 {
		t.Errorf("%d mails, want those that were on the wire", n-1)
	}
	for _, r := range s.Recipients(t) {
		if r.Status == "PENDING" {
			t.Errorf("a recipient still waits")
		}
	}
}

func TestPrunedAndOrphaned(t *testing.T) {
	t.Parallel()
	s := newStage(t, orphan).running()
	reached, release := s.hold(15)
	s.apply(s.manifest)
	s.await("15 mails", reached)
	s.kubectl("delete", "emailcampaign/launch")
	release()
	harness.Eventually(t, "everybody is mailed", func() bool { return s.Relay.Count() >= people && s.Claimed(t) == 0 })
	ended := time.Now() // creationTimestamps are whole seconds
	harness.Eventually(t, "another second has begun", func() bool { return time.Now().Unix() > ended.Unix() })
	s.apply(s.manifest)
	s.AwaitCondition("launch", v1alpha1.ConditionComplete, v1alpha1.ReasonAlreadyCompleted)
	s.once()
}

// Without a database nobody can say what was sent: the object stays, and says why, until somebody forgets it.
func TestDeletedWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	server := strings.TrimPrefix(s.DatabaseURL[strings.LastIndex(s.DatabaseURL, "@"):], "@")
	address, _, _ := strings.Cut(server, "/")
	proxy := harness.NewProxy(t, address)
	proxy.Come()
	through := harness.Env{"DATABASE_URL": strings.Replace(s.DatabaseURL, "@"+address, "@"+proxy.Addr(), 1)}
	s.operator = s.StartOperator(through)
	s.apply(s.manifest)
	s.awaitReady(v1alpha1.ReasonSending)

	proxy.Leave()
	s.kubectl("delete", "emailcampaign/launch", "--wait=false")
	s.awaitReady(v1alpha1.ReasonDeleting)
	s.kubectl("annotate", "emailcampaign/launch", v1alpha1.AnnotationForget+"=the database is gone for good")
	s.awaitGone()

	// Nothing was cancelled: who applies it again goes on with it.
	proxy.Come()
	s.apply(s.manifest)
	s.worker = s.StartWorker(t.TempDir(), nil)
	s.awaitReady(v1alpha1.ReasonCompleted)
	s.once()
}

func TestEditedAfterItStarted(t *testing.T) {
	t.Parallel()
	s := newStage(t).running()
	reached, release := s.hold(5)
	s.apply(s.manifest)
	s.await("5 mails", reached)
	harness.Eventually(t, "the start is told", func() bool { return s.Campaign("launch").Status.StartTime != nil })
	s.refused(strings.Replace(s.manifest, "There is news.", "There is other news.", 1), "spec.message is frozen since status.startTime")
	release()
	s.awaitReady(v1alpha1.ReasonCompleted)
	s.once()
}

// A campaign that waits may be corrected.
func TestEditedBeforeItStarts(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *v1alpha1.EmailCampaign) { c.Spec.Suspend = new(true) }).running()
	s.apply(s.manifest)
	s.awaitReady(v1alpha1.ReasonSuspendedBySpec)
	before := s.Campaign("launch").Status.ContentHash
	s.apply(strings.Replace(s.manifest, "There is news.", "There is other news.", 1))
	harness.Eventually(t, "the other message is written", func() bool {
		return s.Campaign("launch").Status.ContentHash != before
	})
	s.awaitReady(v1alpha1.ReasonSuspendedBySpec)
	s.kubectl("patch", "emailcampaign/launch", "--type=merge", "-p", `{"spec":{"suspend":false}}`)
	s.awaitReady(v1alpha1.ReasonCompleted)
	s.once()
	for _, message := range s.Relay.Messages() {
		if raw, err := s.Relay.Raw(message.ID); err != nil || !bytes.Contains(raw, []byte("other news")) {
			t.Fatalf("the first message was sent (%v)", err)
		}
	}
}

// What was read is sent: a list that is edited later changes nothing.
func TestItsListIsEditedAfterItStarted(t *testing.T) {
	t.Parallel()
	s := newStage(t).running()
	reached, release := s.hold(5)
	s.Send("launch", harness.Addresses(people, "example.org"), 10)
	s.await("5 mails", reached)
	s.kubectl("patch", "configmap/launch-list", "--type=merge", "-p", `{"data":{"list":"somebody@else.example"}}`)
	s.kubectl("annotate", "emailcampaign/launch", "example.com/touched=now")
	release()
	s.awaitReady(v1alpha1.ReasonCompleted)
	s.once()
}

// Self-healing takes back what differs from Git, and leaves annotations alone that Git doesn't have.
func TestSelfHealingTakesSuspendBackAndNotTheHold(t *testing.T) {
	t.Parallel()
	s := newStage(t).running()
	reached, release := s.hold(5)
	s.apply(s.manifest)
	s.await("5 mails", reached)
	s.kubectl("annotate", "emailcampaign/launch", v1alpha1.AnnotationHold+"=ana: the price is wrong")
	s.awaitReady(v1alpha1.ReasonHeld)
	release()
	s.apply(s.manifest)
	harness.Kubectl(t, s.Kubeconfig, s.manifest, "apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", "-")
	s.stays()
	s.awaitReady(v1alpha1.ReasonHeld)

	s.kubectl("annotate", "emailcampaign/launch", v1alpha1.AnnotationHold+"-")
	s.awaitReady(v1alpha1.ReasonCompleted)
	s.kubectl("delete", "emailcampaign/probe")
	mails := s.Relay.Recipients()
	delete(mails, "probe@example.net")
	if len(mails) != people || len(s.mailedTwice()) > 0 {
		t.Errorf("%d people were mailed, twice: %v", len(mails), s.mailedTwice())
	}
}

// Two clusters with the same Git on one database: operators that don't know of each other.
func TestTwoClustersOnOneDatabase(t *testing.T) {
	t.Parallel()
	keyed := func(c *v1alpha1.EmailCampaign) { c.Spec.CampaignKey = "growth/launch" }
	s := newStage(t, keyed).running()
	other := &stage{World: harness.NewWorld(t, s.Services), T: t}
	other.operator = other.StartOperator(nil)
	reached, release := s.hold(15)
	s.apply(s.manifest)
	s.await("15 mails", reached)
	other.apply(s.manifestOf(other.Namespace, keyed))
	other.AwaitCondition("launch", v1alpha1.ConditionMaterialized, v1alpha1.ReasonAdopted)

	// The one that follows is suspended and deleted: the other goes on.
	other.kubectl("patch", "emailcampaign/launch", "--type=merge", "-p", `{"spec":{"suspend":true}}`)
	other.kubectl("delete", "emailcampaign/launch")
	release()
	s.awaitReady(v1alpha1.ReasonCompleted)
	s.once()

	other.apply(s.manifestOf(other.Namespace, keyed))
	other.awaitReady(v1alpha1.ReasonAlreadyCompleted)
	s.once()
}

// The same file in two namespaces is two campaigns, unless it names its key.
func TestTheSameFileInTwoNamespaces(t *testing.T) {
	t.Parallel()
	s := newStage(t).running()
	other := &stage{World: harness.NewWorld(t, s.Services), T: t}
	other.operator = other.StartOperator(nil)
	s.apply(s.manifest)
	other.apply(s.manifestOf(other.Namespace))
	s.awaitReady(v1alpha1.ReasonCompleted)
	other.awaitReady(v1alpha1.ReasonCompleted)
	for address, n := range s.Relay.Recipients() {
		if n != 2 {
			t.Errorf("%s was mailed %d times, want 2", address, n)
		}
	}
}

func TestAnotherContentUnderAnOldKey(t *testing.T) {
	t.Parallel()
	s := newStage(t).running()
	s.apply(s.manifest)
	s.awaitReady(v1alpha1.ReasonCompleted)
	s.kubectl("delete", "emailcampaign/launch")
	s.apply(strings.Replace(s.manifest, "There is news.", "There is other news.", 1))
	s.awaitReady(v1alpha1.ReasonKeyConflict)
	s.once()
	s.stays()
}

func TestAKeyThatIsTakenMayBeAConflict(t *testing.T) {
	t.Parallel()
	s := newStage(t).running()
	s.apply(s.manifest)
	s.awaitReady(v1alpha1.ReasonCompleted)
	s.kubectl("delete", "emailcampaign/launch")
	s.apply(s.manifestOf(s.Namespace, func(c *v1alpha1.EmailCampaign) { c.Spec.OnConflict = v1alpha1.ConflictFail }))
	s.awaitReady(v1alpha1.ReasonKeyConflict)
	s.once()
}

// A campaign that could not start in time, because nobody was there, is not sent days later.
func TestNobodyWasThereAtItsStart(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *v1alpha1.EmailCampaign) {
		c.Spec.Schedule = &v1alpha1.Schedule{
			StartTime:               new(metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))),
			StartingDeadlineSeconds: 60,
		}
	})
	s.apply(s.manifest)
	s.running()
	s.AwaitCondition("launch", v1alpha1.ConditionFailed, v1alpha1.ReasonStartDeadlineExceeded)
	s.stays()
	if n := s.Relay.Count(); n != 1 {
		t.Errorf("%d mails were sent", n-1)
	}
}

func TestRedisIsEmptied(t *testing.T) {
	t.Parallel()
	s := newStage(t).running()
	reached, release := s.hold(15)
	s.apply(s.manifest)
	s.await("15 mails", reached)
	s.ForgetQueue(t)
	release()
	s.awaitReady(v1alpha1.ReasonCompleted)
	s.once()
}

// Nothing per recipient is in etcd, and what the operator has in memory does not grow with the list.
func TestAHundredThousandRecipients(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.operator = s.StartOperator(nil)
	s.operator.Await("Starting workers")
	before := s.operator.PeakMemory()
	var list bytes.Buffer
	zip := gzip.NewWriter(&list)
	for _, address := range harness.Addresses(100_000, "example.org") {
		fmt.Fprintln(zip, address)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	object := kubetest.NewCampaign(s.Namespace, "launch").WithSuspend(true).
		WithConfigMap("readers", "list.gz", v1alpha1.FormatLines).Obj()
	for _, create := range []func() error{
		func() error {
			return s.Cluster.Client.Create(t.Context(), &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "readers"}, BinaryData: map[string][]byte{"list.gz": list.Bytes()},
			})
		},
		func() error { return s.Cluster.Client.Create(t.Context(), object) },
	} {
		if err := create(); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitReady(v1alpha1.ReasonSuspendedBySpec)
	status, err := json.Marshal(s.Campaign("launch").Status)
	if err != nil {
		t.Fatal(err)
	}
	if len(status) > 8<<10 || s.Campaign("launch").Status.Recipients.Total != 100_000 {
		t.Errorf("the status has %d bytes: %s", len(status), status)
	}
	const allowance = 64 << 20 // two shards of rows, 16 bytes for each address, and garbage
	if grown := s.operator.PeakMemory() - before; grown > allowance {
		t.Errorf("the operator took %d MiB more for the list", grown>>20)
	} else {
		t.Logf("the operator took %d MiB more than the %d MiB that it had", grown>>20, before>>20)
	}
}
