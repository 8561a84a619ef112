package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

func TestCreate_Source(t *testing.T) {
	t.Parallel()
	var (
		inline    = []v1alpha1.InlineRecipient{{Address: "ada@example.org"}}
		configMap = &v1alpha1.ConfigMapKeyReference{Name: "audience", Key: "list.csv"}
		secret    = &v1alpha1.SecretKeyReference{Name: "audience", Key: "list.csv"}
	)
	format := func(format v1alpha1.RecipientFormat) func(*v1alpha1.EmailCampaign) {
		return recipients(v1alpha1.RecipientSource{ConfigMapKeyRef: configMap, Format: format})
	}
	const exactlyOne = "spec.recipients must have exactly one of inline, configMapKeyRef, secretKeyRef and urlRef"
	runCreate(t, []campaignCase{
		{name: "inline", mutate: recipients(v1alpha1.RecipientSource{Inline: inline})},
		{name: "inline with a format", mutate: recipients(v1alpha1.RecipientSource{Inline: inline, Format: v1alpha1.FormatLines})},
		{name: "ConfigMap", mutate: recipients(v1alpha1.RecipientSource{ConfigMapKeyRef: configMap})},
		{name: "Secret", mutate: recipients(v1alpha1.RecipientSource{SecretKeyRef: secret})},
		{name: "no source", mutate: recipients(v1alpha1.RecipientSource{Format: v1alpha1.FormatCSV}), wantErr: exactlyOne},
		{
			name:   "inline and ConfigMap",
			mutate: recipients(v1alpha1.RecipientSource{Inline: inline, ConfigMapKeyRef: configMap}), wantErr: exactlyOne,
		},
		{
			name:   "inline and Secret",
			mutate: recipients(v1alpha1.RecipientSource{Inline: inline, SecretKeyRef: secret}), wantErr: exactlyOne,
		},
		{
			name:   "ConfigMap and Secret",
			mutate: recipients(v1alpha1.RecipientSource{ConfigMapKeyRef: configMap, SecretKeyRef: secret}), wantErr: exactlyOne,
		},
		{
			name: "all three", mutate: recipients(v1alpha1.RecipientSource{
				Inline: inline, ConfigMapKeyRef: configMap, SecretKeyRef: secret,
			}), wantErr: exactlyOne,
		},
		{name: "CSV", mutate: format(v1alpha1.FormatCSV)},
		{name: "JSON Lines", mutate: format(v1alpha1.FormatJSONLines)},
		{name: "lines", mutate: format(v1alpha1.FormatLines)},
		{name: "unknown format", mutate: format("XLSX"), wantErr: `spec.recipients.format: Unsupported value: "XLSX"`},
	})
}

func TestCreate_References(t *testing.T) {
	t.Parallel()
	var cases []campaignCase
	kinds := []struct {
		kind, field string
		source      func(name, key string) v1alpha1.RecipientSource
	}{
		{kind: "ConfigMap", field: "configMapKeyRef", source: func(name, key string) v1alpha1.RecipientSource {
			return v1alpha1.RecipientSource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: name, Key: key}}
		}},
		{kind: "Secret", field: "secretKeyRef", source: func(name, key string) v1alpha1.RecipientSource {
			return v1alpha1.RecipientSource{SecretKeyRef: &v1alpha1.SecretKeyReference{Name: name, Key: key}}
		}},
	}
	for _, k := range kinds {
		path := "spec.recipients." + k.field
		badName := fmt.Sprintf("%s.name must be the name of a %s", k.field, k.kind)
		badKey := fmt.Sprintf("%s.key must be a key of a %s", k.field, k.kind)
		add := func(name, object, key, wantErr string) {
			cases = append(cases, campaignCase{
				name: k.kind + " " + name, mutate: recipients(k.source(object, key)), wantErr: wantErr,
			})
		}
		add("subdomain", "audience.2026.example-1", "list", "")
		add("longest name", strings.Repeat("n", 253), "list", "")
		add("name too long", strings.Repeat("n", 254), "list", path+".name: Too long")
		add("no name", "", "list", path+".name: Required value")
		add("name in upper case", "Audience", "list", badName)
		add("name with a slash", "growth/audience", "list", badName)
		add("name ends with -", "audience-", "list", badName)
		add("name with two dots", "a..b", "list", badName)
		add("key with every character", "audience", "List_2026-10.csv", "")
		add("longest key", "audience", strings.Repeat("k", 253), "")
		add("key too long", "audience", strings.Repeat("k", 254), path+".key: Too long")
		add("no key", "audience", "", path+".key: Required value")
		add("key with a slash", "audience", "lists/all.csv", badKey)
	}
	runCreate(t, cases)
}

func TestCreate_Inline(t *testing.T) {
	t.Parallel()
	one := func(recipient v1alpha1.InlineRecipient) func(*v1alpha1.EmailCampaign) {
		return recipients(v1alpha1.RecipientSource{Inline: []v1alpha1.InlineRecipient{recipient}})
	}
	variables := func(variables map[string]string) func(*v1alpha1.EmailCampaign) {
		return one(v1alpha1.InlineRecipient{Address: "ada@example.org", Variables: variables})
	}
	const path = "spec.recipients.inline"
	const badVariable = path + ".variables must have names of letters, digits and _.-"
	runCreate(t, []campaignCase{
		{name: "500 recipients", mutate: recipients(inlineList(500, 0))},
		{name: "501 recipients", mutate: recipients(inlineList(501, 0)), wantErr: path + ": Too many"},
		{name: "address that can't be mailed", mutate: one(v1alpha1.InlineRecipient{Address: "nobody"})},
		{name: "the same address twice", mutate: recipients(v1alpha1.RecipientSource{
			Inline: []v1alpha1.InlineRecipient{{Address: "ada@example.org"}, {Address: "ada@example.org"}},
		})},
		{name: "longest address", mutate: one(v1alpha1.InlineRecipient{Address: strings.Repeat("a", 320)})},
		{
			name: "address too long", mutate: one(v1alpha1.InlineRecipient{Address: strings.Repeat("a", 321)}),
			wantErr: path + "[0].address: Too long",
		},
		{name: "no address", mutate: one(v1alpha1.InlineRecipient{Name: "Ada"}), wantErr: path + "[0].address: Required value"},
		{name: "longest name", mutate: one(v1alpha1.InlineRecipient{Address: "a@b.c", Name: strings.Repeat("é", 256)})},
		{
			name: "name too long", mutate: one(v1alpha1.InlineRecipient{Address: "a@b.c", Name: strings.Repeat("n", 257)}),
			wantErr: path + "[0].name: Too long",
		},
		{name: "32 variables", mutate: recipients(inlineList(1, 32))},
		{name: "33 variables", mutate: recipients(inlineList(1, 33)), wantErr: path + "[0].variables: Too many"},
		{name: "longest variable", mutate: variables(map[string]string{strings.Repeat("k", 64): strings.Repeat("é", 1024)})},
		{name: "variable of several lines", mutate: variables(map[string]string{"_first.name-2": "a\nb"})},
		{name: "variable name too long", mutate: variables(map[string]string{strings.Repeat("k", 65): "v"}), wantErr: badVariable},
		{name: "variable name begins with a digit", mutate: variables(map[string]string{"1st": "v"}), wantErr: badVariable},
		{name: "variable name with a space", mutate: variables(map[string]string{"first name": "v"}), wantErr: badVariable},
		{
			name: "variable value too long", mutate: variables(map[string]string{"k": strings.Repeat("v", 1025)}),
			wantErr: path + ".variables must have values of at most 1024 characters",
		},
	})
}

// TestLargestCampaign shows that a campaign with every list and body full fits the API server's budget for rules, on
// create, and on update after the start, when the rules compare it with itself.
func TestLargestCampaign(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	campaign := kubetest.NewCampaign(cluster.Namespace(t), "largest").
		WithMessage(v1alpha1.Message{
			From:    &v1alpha1.Mailbox{Address: strings.Repeat("a", 64) + "@" + strings.Repeat("b", 185) + ".com"},
			ReplyTo: numbered(10, "help%d@example.com"),
			Subject: strings.Repeat("s", 998),
			Text:    strings.Repeat("t", 131072),
			HTML:    strings.Repeat("h", 131072),
			Headers: map[string]string{},
		}).
		WithRecipients(inlineList(500, 32)).Obj()
	for _, name := range numbered(20, "X-Header-%d") {
		campaign.Spec.Message.Headers[name] = strings.Repeat("v", 998)
	}
	for i := range 10 {
		file := attachment(i)
		file.SecretKeyRef, file.URLRef = nil, &v1alpha1.URLReference{
			URL: "https://a/" + strings.Repeat("p", 2038), SHA256: strings.Repeat("0a", 32),
		}
		file.Name, file.ContentID = strings.Repeat("é", 127)+fmt.Sprint(i), strings.Repeat("i", 64)
		campaign.Spec.Message.Attachments = append(campaign.Spec.Message.Attachments, file)
	}
	fillControl(&campaign.Spec)
	if err := cluster.Client.Create(t.Context(), campaign); err != nil {
		t.Fatalf("Creating: %v", err)
	}
	start(t, cluster, campaign)
	campaign.Spec.Suspend = new(true)
	if err := cluster.Client.Update(t.Context(), campaign); err != nil {
		t.Fatalf("Suspending: %v", err)
	}
}

// fillControl fills every list and string of what steers a campaign.
func fillControl(spec *v1alpha1.EmailCampaignSpec) {
	spec.Schedule = &v1alpha1.Schedule{StartTime: &metav1.Time{Time: time.Unix(1768219200, 0)}, TimeZone: "Etc/" + strings.Repeat("Z", 60)}
	for range 14 {
		spec.Schedule.Windows = append(spec.Schedule.Windows, v1alpha1.Window{
			Days: []v1alpha1.Day{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}, Start: "00:00", End: "24:00",
		})
	}
	spec.FailurePolicy = &v1alpha1.FailurePolicy{}
	for range 20 {
		spec.FailurePolicy.Rules = append(spec.FailurePolicy.Rules, largestRule())
	}
}

// inlineList makes a list of n recipients, each with this many variables.
func inlineList(n, variables int) v1alpha1.RecipientSource {
	var source v1alpha1.RecipientSource
	for i := range n {
		recipient := v1alpha1.InlineRecipient{Address: fmt.Sprintf("recipient%d@example.org", i), Name: "Recipient"}
		if variables > 0 {
			recipient.Variables = map[string]string{}
		}
		for _, name := range numbered(variables, "a-variable-with-a-long-name-%d") {
			recipient.Variables[name] = "a value of some length"
		}
		source.Inline = append(source.Inline, recipient)
	}
	return source
}
