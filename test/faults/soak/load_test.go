package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/test/faults/check"
)

// scripts are what the relay does to some of the recipients; see package ledger.
var scripts = []string{
	"550", "550", "552dot", "471x2", "471dot", "drop", "dropdata", "slow", "250drop", "dropafterdot", "lostafterdot", "471.552dot",
}

// address is a recipient's, with a script one time in odds; 0 for never.
func address(random *rand.Rand, odds int, name string) string {
	script := ""
	if odds > 0 && random.IntN(odds) == 0 {
		script = scripts[random.IntN(len(scripts))] + "+"
	}
	return script + canary + "." + name + "@readers.example.org"
}

// load is who applies campaigns and makes requests.
type load struct {
	*world

	random *rand.Rand
	end    <-chan struct{}

	mu      sync.Mutex
	applied []string
	mails   int
	asked   int
	deleted int
}

// campaigns applies campaigns and changes them until the end.
func (l *load) campaigns() {
	for i := 0; ; i++ {
		select {
		case <-l.end:
			return
		default:
		}
		l.campaign(i)
		pause(time.Duration(500+l.random.IntN(2000))*time.Millisecond, l.end)
		l.steer()
	}
}

// campaign applies a new campaign.
func (l *load) campaign(i int) {
	name := fmt.Sprintf("c%04d", i)
	n := 1 + l.random.IntN(250)
	var list strings.Builder
	for r := range n {
		list.WriteString(address(l.random, 40, fmt.Sprintf("%s.%d", name, r)) + "\n")
	}
	deleted := l.random.IntN(5) == 0
	l.add(check.Event{Kind: check.KindPlanned, Planned: &check.Planned{
		Key: l.namespace + "/" + name, Recipients: n, MayVanish: deleted,
	}})
	object := l.object(name)
	source := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name}, Data: map[string]string{"list": list.String()}}
	l.create(source)
	l.create(object.DeepCopy())
	l.mu.Lock()
	l.mails += n
	l.mu.Unlock()
	if !deleted {
		l.applied = append(l.applied, name)
		return
	}
	l.deleted++
	pause(time.Duration(l.random.IntN(2500))*time.Millisecond, l.end)
	if err := l.cluster.Client.Delete(context.Background(), object.DeepCopy()); err != nil && !apierrors.IsNotFound(err) {
		l.Errorf("Deleting campaign %s: %v", name, err)
	}
	l.note("%s is deleted", name)
	if l.random.IntN(2) == 0 { // and applied again, as it was
		again := object.DeepCopy()
		pause(time.Duration(l.random.IntN(1500))*time.Millisecond, l.end)
		l.createOnce(again)
	}
}

// object is a campaign's, of its own kind each time.
func (l *load) object(name string) *v1alpha1.EmailCampaign {
	return kubetest.NewCampaign(l.namespace, name).
		WithMessage(v1alpha1.Message{From: &v1alpha1.Mailbox{Address: sender}, Subject: "News of " + name, Text: "There is news: " + bodyMark + ".\n"}).
		WithConfigMap(name, "list", v1alpha1.FormatLines).WithJobSize(int32(10 + l.random.IntN(90))).
		With(func(c *v1alpha1.EmailCampaign) {
			if l.random.IntN(3) == 0 {
				c.Spec.Retry = &v1alpha1.Retry{InDoubt: v1alpha1.InDoubtRetry}
			}
			if l.random.IntN(6) == 0 {
				c.Spec.Suspend = new(true)
			}
		}).Obj()
}

func (l *load) create(object client.Object) {
	if err := l.cluster.Client.Create(context.Background(), object); err != nil {
		l.Errorf("Creating %s: %v", object.GetName(), err)
	}
}

// createOnce waits until the name is free.
func (l *load) createOnce(object client.Object) {
	for {
		object.SetResourceVersion("")
		err := l.cluster.Client.Create(context.Background(), object)
		if err == nil {
			l.note("%s is applied again", object.GetName())
			return
		}
		if !apierrors.IsAlreadyExists(err) {
			l.Errorf("Creating %s again: %v", object.GetName(), err)
			return
		}
		select {
		case <-l.end: // it was still being deleted
			return
		default:
			pause(300*time.Millisecond, l.end)
		}
	}
}

// steer suspends a campaign, or lets it go on.
func (l *load) steer() {
	if len(l.applied) == 0 {
		return
	}
	name := l.applied[max(0, len(l.applied)-1-l.random.IntN(4))]
	l.suspend(name, l.random.IntN(3) == 0)
}

func (l *load) suspend(name string, suspend bool) {
	object := &v1alpha1.EmailCampaign{}
	key := types.NamespacedName{Namespace: l.namespace, Name: name}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"suspend":%t}}`, suspend))
	object.Namespace, object.Name = key.Namespace, key.Name
	err := l.cluster.Client.Patch(context.Background(), object, patch)
	if apierrors.IsInvalid(err) { // it may have ended meanwhile, and is frozen then
		if getErr := l.cluster.Client.Get(context.Background(), key, object); getErr == nil && object.Status.TerminalState != "" {
			return
		}
	}
	if err != nil && !apierrors.IsNotFound(err) {
		l.Errorf("Suspending campaign %s: %v", name, err)
	}
}

// resumeAll lets everybody go on.
func (l *load) resumeAll() {
	var all v1alpha1.EmailCampaignList
	if err := l.cluster.Client.List(context.Background(), &all, client.InNamespace(l.namespace)); err != nil {
		l.Fatalf("Listing campaigns: %v", err)
	}
	for _, c := range all.Items {
		l.suspend(c.Name, false)
	}
}

// requests has single mails sent until the end, and makes each request again until it is answered, and one in four once
// more then.
func (l *load) requests(random *rand.Rand, who int) {
	caller := &http.Client{Timeout: 5 * time.Second}
	for i := 0; ; i++ {
		select {
		case <-l.end:
			return
		default:
		}
		key := fmt.Sprintf("request-%d-%d", who, i)
		body, err := json.Marshal(map[string]string{
			"to": address(random, 60, key), "subject": "Your order", "body": bodyMark, "message_type": "order",
		})
		if err != nil {
			l.Errorf("Writing a request: %v", err)
			return
		}
		l.ask(caller, key, body)
		if random.IntN(4) == 0 {
			l.ask(caller, key, body)
		}
		pause(time.Duration(random.IntN(300))*time.Millisecond, l.end)
	}
}

// ask makes one request until it is answered with 202, for minutes after the end.
func (l *load) ask(caller *http.Client, key string, body []byte) {
	for range 1000 {
		job, again, err := l.post(caller, key, body)
		if err == nil {
			l.mu.Lock()
			l.asked++
			l.mu.Unlock()
			l.add(check.Event{Kind: check.KindAnswered, Answered: &check.Answered{IdempotencyKey: key, JobID: job}})
			return
		}
		if !again {
			l.Errorf("Request %s: %v", key, err)
			return
		}
		pause(300*time.Millisecond, nil)
	}
	l.Errorf("Request %s was never answered", key)
}

func (l *load) post(caller *http.Client, key string, body []byte) (job string, again bool, err error) {
	request, err := http.NewRequest(http.MethodPost, l.facade+"/send_async", bytes.NewReader(body))
	if err != nil {
		return "", false, err
	}
	request.Header.Set("X-API-Key", apiKey)
	request.Header.Set("Idempotency-Key", key)
	request.Header.Set("Content-Type", "application/json")
	response, err := caller.Do(request)
	if err != nil {
		return "", true, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", true, err
	}
	switch {
	case response.StatusCode == http.StatusAccepted:
		var answer struct {
			JobID string `json:"jobId"`
		}
		err := json.Unmarshal(text, &answer)
		return answer.JobID, false, err
	case response.StatusCode == http.StatusConflict, response.StatusCode >= 500:
		return "", true, errors.New(response.Status)
	default:
		return "", false, fmt.Errorf("%s: %s", response.Status, text)
	}
}
