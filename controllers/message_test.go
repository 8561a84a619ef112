package controllers

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/fetch"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/internal/mail"
)

// web serves files over https, and counts who asks.
type web struct {
	*httptest.Server

	files map[string][]byte
	asked atomic.Int32
}

func newWeb(t *testing.T, w *world) *web {
	t.Helper()
	served := &web{files: map[string][]byte{}}
	served.Server = httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		served.asked.Add(1)
		file, there := served.files[in.URL.Path]
		if !there {
			http.NotFound(out, in)
			return
		}
		_, _ = out.Write(file)
	}))
	t.Cleanup(served.Close)
	address, err := url.Parse(served.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	w.fetcher, err = fetch.New(fetch.Config{
		AllowPrivate: []string{"127.0.0.1"}, Ports: []int{port}, Dir: t.TempDir(),
		CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: served.Certificate().Raw}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return served
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (w *world) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		object.SetNamespace(w.namespace)
		if err := w.cluster.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

func secret(name string, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
}

func templated(mutate func(*v1alpha1.EmailCampaign)) func(*v1alpha1.EmailCampaign) {
	return func(c *v1alpha1.EmailCampaign) {
		c.Spec.Message.Engine, c.Spec.Message.Subject, c.Spec.Message.Text = v1alpha1.EngineMustache, "Hello {{name}}", "{{plan}}"
		c.Spec.Recipients = v1alpha1.RecipientSource{Inline: []v1alpha1.InlineRecipient{
			{Address: "ada@example.org", Name: "Ada", Variables: map[string]string{"plan": "pro"}},
			{Address: "bob@example.org", Name: "Bob", Variables: map[string]string{"plan": "basic"}},
		}}
		mutate(c)
	}
}

// What a campaign says may be in ConfigMaps, in Secrets and on the web; what is sealed is whole.
func TestAMessageFromElsewhereIsSealedWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.links = true
	served := newWeb(t, w)
	image, list := []byte("\x89PNG"), []byte("email,name,plan\nada@example.org,Ada,pro\nbob@example.org,Bob,basic\n")
	served.files["/logo.png"], served.files["/list.csv"] = image, list
	w.create(t,
		configMap("", "bodies", "page.html", "<p>{{plan}} <img src=\"cid:logo\"></p>"),
		secret("files", map[string][]byte{"terms.pdf": []byte("%PDF")}))
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").With(templated(func(c *v1alpha1.EmailCampaign) {
		c.Spec.Message.Text = ""
		c.Spec.Message.HTMLFrom = &v1alpha1.BodySource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "bodies", Key: "page.html"}}
		c.Spec.Message.Attachments = []v1alpha1.Attachment{
			{Name: "terms.pdf", ContentType: "application/pdf", SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "files", Key: "terms.pdf"}},
			{
				Name: "logo.png", ContentType: "image/png", ContentID: "logo",
				URLRef: &v1alpha1.URLReference{URL: served.URL + "/logo.png", SHA256: sumOf(image)},
			},
		}
		c.Spec.Unsubscribe = &v1alpha1.Unsubscribe{ListID: "news.example.com"}
		c.Spec.Recipients = v1alpha1.RecipientSource{URLRef: &v1alpha1.URLReference{URL: served.URL + "/list.csv", SHA256: sumOf(list)}}
	})).Obj())
	sealed := w.mustSettle(t, key)
	if got := conditionLines(sealed)["Ready"]; got != "True Sending" {
		t.Fatalf("Ready is %s: %s", got, messageOf(sealed))
	}
	asked := served.asked.Load()

	job, err := w.store.Job(t.Context(), campaign.JobID(sealed.Status.CampaignKey, 0))
	if err != nil {
		t.Fatal(err)
	}
	want := campaign.Content{
		From: mail.Address{Address: "news@example.com"}, Subject: "Hello {{name}}", HTML: "<p>{{plan}} <img src=\"cid:logo\"></p>",
		Mustache: true, DeriveText: true, Suppress: true, ListID: "news.example.com", Unsubscribe: campaign.Unsubscribe{Managed: true},
		Attachments: []campaign.Attachment{
			{Name: "terms.pdf", ContentType: "application/pdf", Data: []byte("%PDF")},
			{Name: "logo.png", ContentType: "image/png", ContentID: "logo", Data: image},
		},
	}
	if diff := cmp.Diff(want, job.Content); diff != "" {
		t.Error(diff)
	}

	// What is sealed is not read again, whatever becomes of its sources, and whatever else of the object is edited.
	served.files = map[string][]byte{}
	r := w.reconciler(t)
	loop := func() {
		t.Helper()
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
			t.Fatal(err)
		}
	}
	loop()
	w.update(t, key, func(c *v1alpha1.EmailCampaign) { c.Spec.Suspend = new(true) })
	loop()
	if lines := conditionLines(w.get(t, key)); lines["Ready"] != "True SuspendedBySpec" || served.asked.Load() != asked {
		t.Errorf("the web was asked %d times, and %d when the campaign was sealed; %v", served.asked.Load(), asked, lines)
	}
}

func messageOf(object *v1alpha1.EmailCampaign) string {
	if ready := meta.FindStatusCondition(object.Status.Conditions, "Ready"); ready != nil {
		return ready.Message
	}
	return ""
}

// A message or list that is not in order is told with the place and what to do, before anything is written.
func TestBadMessagesAreToldBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	served := newWeb(t, w)
	served.files["/list.csv"] = []byte("email,plan\nada@example.org,pro\n")
	served.files["/large"] = bytes.Repeat([]byte("x"), 10<<20)
	served.files["/bomb.gz"] = []byte("\x1f\x8b\x08\x00broken")
	w.create(t,
		configMap("", "bodies", "broken.html", "<p>\n{{#plan}}</p>"),
		configMap("", "lists", "unnamed.csv", "first,second\na,b\n"), configMap("", "empty", "list.csv", "email,name\n"),
		secret("files", map[string][]byte{
			"latin1": []byte("\xf1and\xfa"), "large": bytes.Repeat([]byte("x"), maxBody+1), "half": bytes.Repeat([]byte("x"), 900_000),
		}))
	htmlFrom := func(c *v1alpha1.EmailCampaign, source v1alpha1.BodySource) {
		c.Spec.Message.Text, c.Spec.Message.HTMLFrom = "", &source
	}
	fromSecret := func(key string) v1alpha1.BodySource {
		return v1alpha1.BodySource{SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "files", Key: key}}
	}
	attached := func(a v1alpha1.Attachment) func(*v1alpha1.EmailCampaign) {
		a.Name, a.ContentType = "terms.pdf", "application/pdf"
		return func(c *v1alpha1.EmailCampaign) { c.Spec.Message.Attachments = []v1alpha1.Attachment{a} }
	}
	fetched := func(url string) func(*v1alpha1.EmailCampaign) {
		return func(c *v1alpha1.EmailCampaign) {
			c.Spec.Recipients = v1alpha1.RecipientSource{URLRef: &v1alpha1.URLReference{URL: url}}
		}
	}
	for i, tc := range []struct {
		name   string
		mutate func(*v1alpha1.EmailCampaign)
		reason string
		words  []string
	}{
		{"unknown variable", func(c *v1alpha1.EmailCampaign) { c.Spec.Message.Text = "Hello\n{{plam}}" }, "InvalidTemplate", []string{
			"entry 1 of spec.recipients.inline", "text: line 2, column 1", `variable "plam" is missing`,
		}},
		{"a variable that one lacks", func(c *v1alpha1.EmailCampaign) { c.Spec.Recipients.Inline[1].Variables = nil }, "InvalidTemplate", []string{
			"entry 2 of spec.recipients.inline", `variable "plan" is missing`,
		}},
		{"broken template", func(c *v1alpha1.EmailCampaign) {
			htmlFrom(c, v1alpha1.BodySource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "bodies", Key: "broken.html"}})
		}, "InvalidTemplate", []string{"html: line 2, column 1"}},
		{"a line break in a header field", func(c *v1alpha1.EmailCampaign) {
			c.Spec.Recipients.Inline[0].Variables = map[string]string{"plan": "x", "note": "a\r\nBcc: eve@example.org"}
			c.Spec.Message.Headers = map[string]string{"X-Note": "{{note}}{{^note}}{{/note}}"}
		}, "InvalidTemplate", []string{"entry 1", "headers[X-Note]", "line break"}},
		{"missing ConfigMap", func(c *v1alpha1.EmailCampaign) {
			htmlFrom(c, v1alpha1.BodySource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "nothing", Key: "page.html"}})
		}, "ConfigMapNotFound", []string{`ConfigMap "nothing" (spec.message.htmlFrom.configMapKeyRef)`}},
		{"missing key", func(c *v1alpha1.EmailCampaign) { htmlFrom(c, fromSecret("nothing")) }, "KeyNotFound", []string{
			`Secret "files" (spec.message.htmlFrom.secretKeyRef) has no key "nothing"`,
		}},
		{"no UTF-8", func(c *v1alpha1.EmailCampaign) { htmlFrom(c, fromSecret("latin1")) }, "InvalidSpec", []string{"is not text in UTF-8"}},
		{"oversized body", func(c *v1alpha1.EmailCampaign) { htmlFrom(c, fromSecret("large")) }, "InvalidSpec", []string{"131073 bytes"}},
		{"missing attachment", attached(v1alpha1.Attachment{SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "none", Key: "a"}}), "SecretNotFound", []string{
			`Secret "none" (spec.message.attachments[0].secretKeyRef)`,
		}},
		{"wrong sha256", attached(v1alpha1.Attachment{URLRef: &v1alpha1.URLReference{
			URL: served.URL + "/list.csv", SHA256: strings.Repeat("0", 64),
		}}), "FetchFailed", []string{"spec.message.attachments[0].urlRef", "not the one given"}},
		{"oversized attachments", func(c *v1alpha1.EmailCampaign) {
			attached(v1alpha1.Attachment{URLRef: &v1alpha1.URLReference{URL: served.URL + "/large", SHA256: sumOf(served.files["/large"])}})(c)
			c.Spec.Message.Attachments = append(c.Spec.Message.Attachments, v1alpha1.Attachment{
				Name: "more", ContentType: "text/plain", SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "files", Key: "half"},
			})
		}, "InvalidSpec", []string{"spec.message.attachments are more than 10485760 bytes together"}},
		{"oversized attachments on the web", func(c *v1alpha1.EmailCampaign) {
			attached(v1alpha1.Attachment{SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "files", Key: "half"}})(c)
			c.Spec.Message.Attachments = append(c.Spec.Message.Attachments, v1alpha1.Attachment{
				Name: "more.bin", ContentType: "text/plain", URLRef: &v1alpha1.URLReference{URL: served.URL + "/large", SHA256: sumOf(served.files["/large"])},
			})
		}, "InvalidSpec", []string{"spec.message.attachments are more than 10485760 bytes together, from spec.message.attachments[1] (\"more.bin\") on"}},
		{"an empty list", func(c *v1alpha1.EmailCampaign) {
			c.Spec.Recipients = v1alpha1.RecipientSource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "empty", Key: "list.csv"}}
		}, "InvalidRecipients", []string{`ConfigMap "empty" (spec.recipients.configMapKeyRef) is empty: it has no entries`}},
		{"no address column", func(c *v1alpha1.EmailCampaign) {
			c.Spec.Recipients = v1alpha1.RecipientSource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "lists", Key: "unnamed.csv"}}
		}, "InvalidRecipients", []string{"line 1"}},
		{"no such file", fetched(served.URL + "/nothing?signature=secret"), "FetchFailed", []string{"spec.recipients.urlRef", "no such file"}},
		{"private address", fetched("https://10.0.0.1/list.csv"), "FetchFailed", []string{"its address is not a public one"}},
		{"damaged gzip", fetched(served.URL + "/bomb.gz"), "FetchFailed", []string{"damaged"}},
		{"a variable that a fetched list lacks", func(c *v1alpha1.EmailCampaign) {
			fetched(served.URL + "/list.csv")(c)
			c.Spec.Message.Text = "{{plan}} {{city}}"
			c.Spec.Message.Subject = "News"
		}, "InvalidTemplate", []string{"line 2 of the list at 127.0.0.1 (spec.recipients.urlRef)", `"city" is missing`}},
		{"unsubscribing without an address", func(c *v1alpha1.EmailCampaign) {
			c.Spec.Unsubscribe = &v1alpha1.Unsubscribe{ListID: "news.example.com"}
		}, "InvalidSpec", []string{"UNSUBSCRIBE_URL"}},
		{"no URL to unsubscribe at", func(c *v1alpha1.EmailCampaign) {
			c.Spec.Unsubscribe = &v1alpha1.Unsubscribe{Mode: v1alpha1.UnsubscribeExternal, URLVariable: "leave"}
		}, "InvalidTemplate", []string{"entry 1", `"leave" (spec.unsubscribe.urlVariable) is missing`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			key := w.apply(t, kubetest.NewCampaign(w.namespace, fmt.Sprintf("bad-%d", i)).With(templated(tc.mutate)).Obj())
			stalled := w.mustSettle(t, key)
			if got := conditionLines(stalled)["Stalled"]; got != "True "+tc.reason {
				t.Errorf("Stalled is %q, want %q", got, tc.reason)
			}
			message := messageOf(stalled)
			for _, words := range tc.words {
				if !strings.Contains(message, words) {
					t.Errorf("message %q does not say %q", message, words)
				}
			}
			if strings.ContainsAny(message, "@") || strings.Contains(message, "secret") && strings.Contains(message, "signature") {
				t.Errorf("message %q quotes what is nobody's business", message)
			}
			if _, err := w.store.Campaign(t.Context(), stalled.Status.CampaignKey); !errors.Is(err, campaign.ErrNotFound) {
				t.Errorf("something was written: %v", err)
			}
		})
	}
}

// A dry run writes nothing and says what would happen; changed to Send, the campaign sends that, or nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	list := configMap("", "audience", "list.csv", "email,name,plan\nada@example.org,Ada,pro\nnobody,,\nADA@example.org,Ada,pro\nbob@example.net,Bob,basic\n")
	w.create(t, list)
	_, err := w.store.Suppress(t.Context(), []campaign.Suppression{{
		SuppressionKey: campaign.SuppressionKey{Address: "bob@example.net"}, Reason: campaign.SuppressedManual, Source: "test", CreatedAt: w.now,
	}})
	if err != nil {
		t.Fatal(err)
	}
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").With(templated(func(c *v1alpha1.EmailCampaign) {
		c.Spec.Mode = v1alpha1.ModeDryRun
		c.Spec.Throttle = &v1alpha1.Throttle{Rate: &v1alpha1.Rate{Messages: 60, PeriodSeconds: 3600}}
	})).WithConfigMap("audience", "list.csv", v1alpha1.FormatCSV).Obj())
	planned := w.mustSettle(t, key)
	if got := conditionLines(planned)["Ready"]; got != "True Planned" || kstatusOf(t, planned) != status.CurrentStatus {
		t.Fatalf("Ready is %s, kstatus %s: %s", got, kstatusOf(t, planned), messageOf(planned))
	}
	plan := planned.Status.Plan
	if plan.MessageBytes < 200 || len(plan.Warnings) != 1 || !strings.Contains(plan.Warnings[0], "unsubscrib") {
		t.Errorf("plan %+v", plan)
	}
	want := &v1alpha1.Plan{
		Recipients: 1, Duplicates: 1, Invalid: 1, Suppressed: 1, MessageBytes: plan.MessageBytes, Warnings: plan.Warnings,
		TopDomains:               []v1alpha1.DomainCount{{Domain: "example.net", Count: 1}, {Domain: "example.org", Count: 1}},
		EstimatedDurationSeconds: plan.EstimatedDurationSeconds,
	}
	if diff := cmp.Diff(want, plan); diff != "" || plan.EstimatedDurationSeconds == nil {
		t.Error(diff)
	}
	if _, err := w.store.Campaign(t.Context(), planned.Status.CampaignKey); !errors.Is(err, campaign.ErrNotFound) {
		t.Errorf("something was written: %v", err)
	}
	if queued := w.queued(t, planned.Status.CampaignKey); queued != nil {
		t.Errorf("queued: %v", queued)
	}

	// The list changes before somebody says Send: nothing is sent.
	was := list.Data["list.csv"]
	list.Data["list.csv"] += "eve@example.org,Eve,pro\n"
	if err := w.cluster.Client.Update(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	w.update(t, key, func(c *v1alpha1.EmailCampaign) { c.Spec.Mode = v1alpha1.ModeSend })
	if changed := w.mustSettle(t, key); conditionLines(changed)["Stalled"] != "True SourceChanged" || !strings.Contains(messageOf(changed), "DryRun") {
		t.Errorf("conditions %v: %s", conditionLines(changed), messageOf(changed))
	}
	list.Data["list.csv"] = was
	if err := w.cluster.Client.Update(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	sent := w.mustSettle(t, key)
	if got := conditionLines(sent)["Ready"]; got != "True Sending" || sent.Status.ContentHash != planned.Status.ContentHash {
		t.Errorf("Ready is %s, content %s, planned %s: %s", got, sent.Status.ContentHash, planned.Status.ContentHash, messageOf(sent))
	}
	var reasons []string
	for _, told := range w.events() {
		reasons = append(reasons, strings.Fields(told)[1])
	}
	if diff := cmp.Diff([]string{"CampaignAccepted", "CampaignPlanned"}, reasons[:2]); diff != "" {
		t.Error(diff)
	}
}

// A dry run of a campaign that exists says so, and leaves it alone, also when it is deleted.
func TestADryRunLeavesTheCampaignOfItsKeyAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.mustSettle(t, w.apply(t, kubetest.NewCampaign(w.namespace, "first").WithKey("growth/launch").Obj()))
	again := func(name, subject string) *v1alpha1.EmailCampaign {
		object := kubetest.NewCampaign(w.namespace, name).WithKey("growth/launch").With(func(c *v1alpha1.EmailCampaign) {
			c.Spec.Mode, c.Spec.Message.Subject = v1alpha1.ModeDryRun, subject
		}).Obj()
		return w.mustSettle(t, w.apply(t, object))
	}
	if other := again("other", "Other news"); conditionLines(other)["Stalled"] != "True KeyConflict" {
		t.Errorf("conditions %v", conditionLines(other))
	}
	same := again("same", "News")
	if got := conditionLines(same)["Ready"]; got != "True Planned" || !strings.Contains(strings.Join(same.Status.Plan.Warnings, "\n"), "nobody would be mailed again") {
		t.Errorf("Ready is %s, plan %+v", got, same.Status.Plan)
	}
	if err := w.cluster.Client.Delete(t.Context(), same); err != nil {
		t.Fatal(err)
	}
	w.mustSettle(t, client.ObjectKeyFromObject(same))
	if got := conditionLines(w.mustSettle(t, client.ObjectKeyFromObject(first)))["Ready"]; got != "True Sending" {
		t.Errorf("the campaign is %s", got)
	}
}
