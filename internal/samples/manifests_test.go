package samples

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/recipients"
)

func readCampaign(t *testing.T, name string) v1alpha1.EmailCampaign {
	t.Helper()
	text, err := os.ReadFile(directory + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var object v1alpha1.EmailCampaign
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if object.Name != name || object.Namespace != "" || object.Spec.CampaignKey != "" {
		t.Errorf("%s has name %q, namespace %q and key %q: it must go into any namespace, as a campaign of its own",
			name, object.Name, object.Namespace, object.Spec.CampaignKey)
	}
	return object
}

func TestNewsletter(t *testing.T) {
	t.Parallel()
	spec := readCampaign(t, "newsletter-autumn").Spec
	if ref := spec.Recipients.ConfigMapKeyRef; ref == nil || ref.Name != "newsletter-autumn-recipients" || ref.Key != "recipients.csv" ||
		spec.Recipients.Format != v1alpha1.FormatCSV {
		t.Errorf("its list is %+v", spec.Recipients)
	}
	html := spec.Message.HTML
	for _, part := range []string{
		"<!--[if mso]>", "v:roundrect", "data:image/png;base64,", `src="https://images.example.com/`, "prefers-color-scheme: dark",
		"max-width:600px", "¡", "¿", "ñ", "ü", "Darse de baja", "Unsubscribe",
	} {
		if !strings.Contains(html, part) {
			t.Errorf("its HTML has no %s", part)
		}
	}
	if strings.Count(html, "<img") != strings.Count(html, "alt=\"") || len(html) > 60<<10 || spec.Message.Text == "" {
		t.Errorf("its HTML has %d bytes, its text %d, or an image has no alt", len(html), len(spec.Message.Text))
	}
	for line := range strings.Lines(html) {
		if len(line) > 998 { // RFC 5322 section 2.1.1, for those who send it as it is
			t.Errorf("a line has %d octets", len(line))
		}
	}
}

func TestWelcome(t *testing.T) {
	t.Parallel()
	want := Campaigns["welcome-inline"]
	entries := readCampaign(t, "welcome-inline").Spec.Recipients.Inline
	for _, entry := range entries {
		if _, err := recipients.ParseAddress(entry.Address); err != nil || entry.Name == "" || len(entry.Variables) == 0 {
			t.Errorf("an entry is %+v, %v", entry, err)
		}
	}
	if int64(len(entries)) != want.Rows || want.Delivered() != 3 {
		t.Errorf("%d entries, %d delivered, want %d", len(entries), want.Delivered(), want.Rows)
	}
}

// TestOfficeHours: it shows what steers a campaign, and is not among those that a demo waits for.
func TestOfficeHours(t *testing.T) {
	t.Parallel()
	spec := readCampaign(t, "office-hours").Spec
	if spec.Schedule == nil || len(spec.Schedule.Windows) == 0 || spec.Throttle == nil || spec.Retry == nil ||
		spec.FailurePolicy == nil || spec.AbortPolicy == nil || spec.ActiveDeadlineSeconds == nil {
		t.Errorf("its spec is %+v", spec)
	}
	if _, ok := Campaigns["office-hours"]; ok {
		t.Error("a demo would wait for its windows")
	}
	kustomization, err := os.ReadFile(directory + "kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(kustomization), "- office-hours.yaml") {
		t.Error("it is applied with the others")
	}
}
