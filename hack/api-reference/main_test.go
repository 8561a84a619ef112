package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

const root = "../../"

func page(t *testing.T) string {
	t.Helper()
	text, err := reference(root+"config/crd/bases/mail.cartero.dev_emailcampaigns.yaml", root+"api/v1alpha1")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCommittedPageIsTheGenerated(t *testing.T) {
	t.Parallel()
	committed, err := os.ReadFile(root + "docs/api-reference.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, []byte(page(t))) {
		t.Error("docs/api-reference.md is not what the generator makes: run make generate")
	}
}

// TestPage looks for one of each kind of thing that the page tells.
func TestPage(t *testing.T) {
	t.Parallel()
	text := page(t)
	for _, want := range []string{
		"`EmailCampaign` (`mail.cartero.dev/v1alpha1`): EmailCampaign is an e-mail campaign: one message to a list of recipients, sent once.",
		"| `message` *required* | [object](#specmessage) | is the mail that every recipient gets.",
		"| `onConflict` | `Adopt`, `Fail` | says",
		"Default: `Adopt`. |",
		"| `windows` | list, 1 to 14, of [object](#specschedulewindows) | ",
		"| `startTime` | time (RFC 3339) | ",
		"| `headers` | map of string, at most 20 | ",
		"| `codes` | list, 1 to 20, of integer, 400 to 599 | ",
		"- spec.shutdown Stop can't be taken back; apply a new campaign",
		"- spec.message is frozen since status.startTime; apply a new campaign",
		"## status.recipients",
		"| `mail.cartero.dev/hold` | suspends the campaign while it is there",
		"### Suspended\n\nNothing new is sent until something changes. Abnormal-true.",
		"| `Held` | (True) the annotation mail.cartero.dev/hold is there.",
		"| `Stalled` | the campaign does not go on by itself",
		"| `CampaignCompleted` | every recipient has ended |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("The page has no\n%s", want)
		}
	}
	for _, heading := range regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		found := false
		for line := range strings.SplitSeq(text, "\n") {
			level, title, ok := strings.Cut(line, " ")
			found = found || ok && strings.Trim(level, "#") == "" && anchor(title) == heading[1]
		}
		if !found {
			t.Errorf("The page links to #%s and has no such heading", heading[1])
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := run(dir+"/none.yaml", root+"api/v1alpha1", dir+"/out.md"); err == nil {
		t.Error("No error without a CRD")
	}
	if err := run(root+"config/crd/bases/mail.cartero.dev_emailcampaigns.yaml", dir, dir+"/out.md"); err == nil {
		t.Error("No error without the API package")
	}
	if _, err := readKind([]byte("spec: {versions: [{name: a}, {name: b}]}")); err == nil {
		t.Error("No error with two versions")
	}
	if err := run(root+"config/crd/bases/mail.cartero.dev_emailcampaigns.yaml", root+"api/v1alpha1", dir+"/out.md"); err != nil {
		t.Error(err)
	}
}
