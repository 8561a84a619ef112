package check_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/controllers/check"
	"github.com/cartero-mail/cartero/internal/crdschema"
	"github.com/cartero-mail/cartero/internal/fetch"
	"github.com/cartero-mail/cartero/internal/manifest"
)

var update = flag.Bool("update", false, "write the golden files of testdata instead of comparing them")

var schema = sync.OnceValues(crdschema.New)

func opts(tb testing.TB) check.Options {
	tb.Helper()
	s, err := schema()
	if err != nil {
		tb.Fatal(err)
	}
	return check.Options{Schema: s, Now: time.Date(2026, 9, 1, 10, 0, 0, 0, time.UTC)}
}

func read(tb testing.TB, names ...string) *manifest.Set {
	tb.Helper()
	set, err := manifest.Read(names, strings.NewReader(""))
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

// parse reads manifests that a test writes itself.
func parse(tb testing.TB, text string) *manifest.Set {
	tb.Helper()
	set, err := manifest.Read([]string{"-"}, strings.NewReader(text))
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func lint(tb testing.TB, set *manifest.Set, options check.Options) *check.Report {
	tb.Helper()
	report, err := check.Lint(tb.Context(), set, options)
	if err != nil {
		tb.Fatal(err)
	}
	return report
}

func golden(tb testing.TB, path string, got []byte) {
	tb.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			tb.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		tb.Errorf("%s (-want +got; go test ./controllers/check -update writes it anew):\n%s", path, diff)
	}
}

// TestFindings compares what is found in each manifest of testdata/lint with the files beside it.
func TestFindings(t *testing.T) {
	t.Parallel()
	client, err := fetch.New(fetch.Config{})
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("testdata/lint/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatal("no manifests", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			options := opts(t)
			if filepath.Base(name) == "web.yaml" { // whose addresses are refused before anything is sent
				options.Fetcher = client
			}
			report := lint(t, read(t, name), options)
			var text, json bytes.Buffer
			if err := report.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			if err := report.WriteJSON(&json); err != nil {
				t.Fatal(err)
			}
			stem := strings.TrimSuffix(name, ".yaml")
			golden(t, stem+".txt", text.Bytes())
			golden(t, stem+".json", json.Bytes())
			for _, address := range []string{"ada@", "bob@", "cem@", "dee@", "carla@", "everybody@"} {
				if bytes.Contains(text.Bytes(), []byte(address)) {
					t.Errorf("a finding quotes an address:\n%s", &text)
				}
			}
		})
	}
}

// TestSamples holds the manifests that people begin with to what they are told.
func TestSamples(t *testing.T) {
	t.Parallel()
	set := read(t, "../../config/samples")
	report := lint(t, set, opts(t))
	if report.Errors > 0 {
		t.Errorf("the samples have errors: %+v", report.Findings)
	}
	for _, c := range report.Campaigns {
		if !c.ListChecked || c.Recipients == 0 || c.MessageBytes == 0 {
			t.Errorf("not all of %s was checked: %+v", c.Name, c)
		}
		preview, err := check.Make(t.Context(), set, opts(t), check.Whom{Campaign: c.Name})
		if err != nil || preview.Sample {
			t.Errorf("%s can't be previewed: %v", c.Name, err)
		}
	}
}

// TestLists has the list in a file of its own.
func TestLists(t *testing.T) {
	t.Parallel()
	options := opts(t)
	options.List = "../../config/samples/recipients.csv"
	report := lint(t, read(t, "../../config/samples/newsletter-autumn.yaml"), options)
	want := check.Campaign{
		File: "../../config/samples/newsletter-autumn.yaml", Line: 3, Name: "newsletter-autumn",
		ListChecked: true, Recipients: 963, Duplicates: 25, Invalid: 12, MessageBytes: report.Campaigns[0].MessageBytes,
	}
	if diff := cmp.Diff([]check.Campaign{want}, report.Campaigns); diff != "" {
		t.Errorf("campaigns (-want +got):\n%s", diff)
	}
}

const small = `apiVersion: mail.cartero.dev/v1alpha1
kind: EmailCampaign
metadata: {name: news}
spec:
  unsubscribe: {mode: Managed}
  message:
    engine: Mustache
    from: {address: news@example.com}
    subject: News for {{city}}
    html: "HTML"
  recipients:
    inline:
      - address: ada@example.org
        variables: {city: London}
      - address: bob@example.org
`

func rules(report *check.Report) []string {
	var rules []string
	for _, f := range report.Findings {
		rules = append(rules, string(f.Severity)+" "+f.Rule)
	}
	return rules
}

func TestSizes(t *testing.T) {
	t.Parallel()
	bundle := func(size int) string {
		return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: big}\ndata:\n  big: " + strings.Repeat("x", size) + "\n"
	}
	fine := strings.Replace(small, "- address: bob@example.org", "", 1)
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"small", fine, nil},
		{"clipped", strings.Replace(fine, "HTML", strings.Repeat("news ", 21_000), 1), []string{"warning LargeMessage"}},
		{"too long", strings.Replace(fine, "HTML", strings.Repeat("news ", 27_000), 1), []string{"error InvalidField"}},
		{"a ConfigMap that is large", fine + bundle(300<<10), []string{"warning TooLarge"}},
		{"a ConfigMap that is too large", fine + bundle(1100<<10), []string{"error TooLarge"}},
		{
			"an object that is large", strings.Replace(fine, "name: news", "name: news, annotations: {a: "+strings.Repeat("x", 260<<10)+"}", 1),
			[]string{"warning TooLarge", "error InvalidField"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, rules(lint(t, parse(t, test.text), opts(t)))); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestShowAddresses(t *testing.T) {
	t.Parallel()
	options := opts(t)
	for _, show := range []bool{false, true} {
		options.ShowAddresses = show
		report := lint(t, parse(t, small), options)
		if len(report.Findings) != 1 || strings.Contains(report.Findings[0].Message, "bob@example.org") != show {
			t.Errorf("with ShowAddresses %t: %+v", show, report.Findings)
		}
	}
}

// TestArchiveBomb has a list that decompresses to far more than a ConfigMap holds.
func TestArchiveBomb(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	line := bytes.Repeat([]byte("# nobody at all\n"), 1<<16)
	for range 64 {
		if _, err := writer.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	begin, _, _ := strings.Cut(strings.Replace(small, "{{city}}", "all", 1), "    inline:")
	text := begin + "    configMapKeyRef: {name: bomb, key: list}\n    format: Lines\n---\napiVersion: v1\nkind: ConfigMap\n" +
		"metadata: {name: bomb}\nbinaryData:\n  list: " + base64.StdEncoding.EncodeToString(packed.Bytes()) + "\n"
	report := lint(t, parse(t, text), opts(t))
	if diff := cmp.Diff([]string{"error InvalidRecipients"}, rules(report)); diff != "" {
		t.Errorf("findings (-want +got):\n%s\n%+v", diff, report.Findings)
	}
}

// FuzzLint has nothing that is written into a manifest end the program.
func FuzzLint(f *testing.F) {
	f.Add(small)
	names, err := filepath.Glob("testdata/lint/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		set := parse(t, text)
		lint(t, set, opts(t))
		if preview, err := check.Make(t.Context(), set, opts(t), check.Whom{}); err == nil {
			if _, err := preview.Parts(); err != nil {
				t.Errorf("the mail can't be read: %v", err)
			}
		}
	})
}
