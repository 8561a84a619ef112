package facade_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// document is the part of a description that the tests compare with what is really there.
type document struct {
	OpenAPI string                          `json:"openapi"`
	Paths   map[string]map[string]operation `json:"paths"`
	Parts   struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	OperationID string                    `json:"operationId"`
	Summary     string                    `json:"summary"`
	Security    []map[string][]string     `json:"security"`
	Responses   map[string]*documentation `json:"responses"`
}

type documentation struct {
	Description string `json:"description"`
	Content     map[string]struct {
		Schema *schema `json:"schema"`
	} `json:"content"`
}

type schema struct {
	Ref        string             `json:"$ref"`
	Type       any                `json:"type"`
	Enum       []any              `json:"enum"`
	Required   []string           `json:"required"`
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
}

func (f *fixture) document() document {
	f.t.Helper()
	got := f.do(httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var d document
	if err := json.Unmarshal([]byte(got.Body), &d); err != nil || got.Status != http.StatusOK {
		f.t.Fatalf("%d, %v", got.Status, err)
	}
	return d
}

// withEveryCall is a facade with all calls that there are.
func withEveryCall(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	return newFixtureOn(t, f.store, func(cfg *facade.Config) { cfg.Messages = f.store })
}

// TestEveryRouteIsDescribed: the description has each route, and no other.
func TestEveryRouteIsDescribed(t *testing.T) {
	t.Parallel()
	f := withEveryCall(t)
	d := f.document()
	var described []string
	for path, methods := range d.Paths {
		for method, o := range methods {
			described = append(described, strings.ToUpper(method)+" "+path)
			if o.OperationID == "" || o.Summary == "" {
				t.Errorf("%s %s has no name or summary", method, path)
			}
			for status, r := range o.Responses {
				if r.Description == "" {
					t.Errorf("%s %s does not say what %s means", method, path, status)
				}
			}
		}
	}
	served := slices.DeleteFunc(slices.Clone(facade.Patterns(f.handler)), func(p string) bool { return p == "/" })
	slices.Sort(served)
	slices.Sort(described)
	if diff := cmp.Diff(served, described); diff != "" {
		t.Errorf("routes (-served +described):\n%s", diff)
	}
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Errorf("OpenAPI %s, want 3.1", d.OpenAPI)
	}
}

// TestKeysAreDescribed: a call that the description has without a key works without one, and the others don't.
func TestKeysAreDescribed(t *testing.T) {
	t.Parallel()
	f := withEveryCall(t)
	for path, methods := range f.document().Paths {
		for method, o := range methods {
			got := f.do(httptest.NewRequest(strings.ToUpper(method), strings.ReplaceAll(path, "{id}", "x"), nil))
			if open := len(o.Security) > 0; open != (got.Status != http.StatusUnauthorized) {
				t.Errorf("%s %s: %d without a key, and described as open: %t", method, path, got.Status, open)
			}
		}
	}
}

// TestAnswersAreAsDescribed compares the members of real answers with their schemas.
func TestAnswersAreAsDescribed(t *testing.T) {
	t.Parallel()
	check := telemetry.Check{Name: "database", Probe: func(context.Context) error { return errAway }}
	play(t, option{facade: func(cfg *facade.Config) { cfg.MaxBody = 1000 }}, func(s *stage) {
		record := newFixtureOn(s.t, s.store, func(cfg *facade.Config) { cfg.Messages = s.store })
		d := record.document()
		s.relay.script["b@example.com"] = []step{unknownMailbox}
		s.relay.script["c@example.com"] = []step{silence}
		job := s.do(to("/send-campaign", small)).Header["Location"]
		plain := to("/send", mailTo(`"a@example.com"`))
		plain.Header.Del("X-API-Key")
		for _, call := range []struct {
			path    string
			request *http.Request
			status  int
		}{
			{"/health", get("/health"), 200},
			{"/livez", get("/livez"), 200},
			{"/readyz", get("/readyz"), 200},
			{"/send", to("/send", mailTo(`"a@example.com"`)), 200},
			{"/send", to("/send", mailTo(`["a@example.com","b@example.com","c@example.com"]`)), 200},
			{"/send", to("/send", mailTo(`"b@example.com"`)), 500},
			{"/send", to("/send", `{}`), 422},
			{"/send", plain, 401},
			{"/send", to("/send", `{}`, "Content-Encoding", "gzip"), 415},
			{"/send_async", to("/send_async", mailTo(`"a@example.com"`)), 202},
			{"/send-campaign", to("/send-campaign", strings.Replace(small, "a@example.com", "nobody", 1)), 202},
			{"/send-campaign", to("/send-campaign", `{"recipients":[1]}`), 422},
			{"/send-campaign", to("/send-campaign", strings.Repeat(" ", 1001)), 413},
			{"/jobs/{id}", get(job), 200},
			{"/jobs/{id}", get("/jobs/x"), 404},
			{"/jobs/{id}/recipients", get(job + "/recipients?limit=1"), 200},
			{"/jobs/{id}/recipients", get(job + "/recipients?limit=x"), 422},
			{"/jobs/{id}/cancel", to(job+"/cancel", ""), 200},
			{"/jobs/{id}/cancel", to("/jobs/x/cancel", ""), 404},
		} {
			d.compare(s.fixture, call.path, call.request, call.status)
		}
		d.compare(record, "/messages", get("/messages?recipient=a@example.com"), 200)
		d.compare(record, "/messages", get("/messages?limit=x"), 422)
		s.waiting = 100
		d.compare(s.fixture, "/send-campaign", to("/send-campaign", small), 503)
		ill := newFixtureOn(s.t, s.store, func(cfg *facade.Config) { cfg.Checks = []telemetry.Check{check} })
		d.compare(ill, "/readyz", get("/readyz"), 503)
	})
}

// compare does the request and fails the test unless the answer is one that the path's operation is described to give.
func (d document) compare(f *fixture, path string, r *http.Request, status int) {
	f.t.Helper()
	got := f.do(r)
	what := fmt.Sprintf("%s %s %d", r.Method, path, got.Status)
	if got.Status != status {
		f.t.Errorf("%s, want %d: %s", what, status, got.Body)
		return
	}
	described := d.Paths[path][strings.ToLower(r.Method)].Responses[fmt.Sprint(status)]
	if described == nil {
		f.t.Errorf("%s is not described", what)
		return
	}
	content, ok := described.Content[got.Header["Content-Type"]]
	if !ok {
		f.t.Errorf("%s: %s is not described", what, got.Header["Content-Type"])
		return
	}
	var value any
	if err := json.Unmarshal([]byte(got.Body), &value); err != nil {
		f.t.Errorf("%s: %v", what, err)
		return
	}
	for _, problem := range d.differences(content.Schema, value, "answer") {
		f.t.Errorf("%s: %s", what, problem)
	}
}

// differences says where a value is not what the schema describes, members that it does not describe among them.
func (d document) differences(s *schema, value any, path string) []string {
	if s.Ref != "" {
		s = d.Parts.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	types, ok := s.Type.([]any)
	if !ok {
		types = []any{s.Type}
	}
	if kind := kindOf(value); s.Type != nil && !slices.Contains(types, any(kind)) {
		return []string{fmt.Sprintf("%s is of type %s, want %v", path, kind, types)}
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, value) {
		return []string{fmt.Sprintf("%s is %v, want one of %v", path, value, s.Enum)}
	}
	var all []string
	switch value := value.(type) {
	case []any:
		for i, entry := range value {
			all = append(all, d.differences(s.Items, entry, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := value[name]; !ok {
				all = append(all, path+" lacks "+name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if s.Properties[name] == nil {
				all = append(all, path+" has "+name+", which is not described")
				continue
			}
			all = append(all, d.differences(s.Properties[name], value[name], path+"."+name)...)
		}
	}
	return all
}

// kindOf is a JSON value's type in JSON Schema; numbers of ours are integers.
func kindOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		return "integer"
	case []any:
		return "array"
	}
	return "object"
}

// TestDocsPage: the page loads nothing from elsewhere, and its policy lets its own style and script in, and nothing else.
func TestDocsPage(t *testing.T) {
	t.Parallel()
	got := newFixture(t).do(httptest.NewRequest(http.MethodGet, "/docs", nil))
	if got.Status != http.StatusOK || got.Header["Content-Type"] != "text/html; charset=utf-8" {
		t.Fatalf("%d %s", got.Status, got.Header["Content-Type"])
	}
	sum := func(element string) string {
		all := regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllStringSubmatch(got.Body, -1)
		if len(all) != 1 {
			t.Fatalf("%d elements %s without attributes, want 1", len(all), element)
		}
		sum := sha256.Sum256([]byte(all[0][1]))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	want := "default-src 'none'; style-src " + sum("style") + "; script-src " + sum("script") +
		"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if diff := cmp.Diff(want, got.Header["Content-Security-Policy"]); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	for _, outside := range []string{"http://", "https://", "src=", "style=", "@import", "innerHTML", "onclick="} {
		if strings.Contains(got.Body, outside) {
			t.Errorf("the page has %q", outside)
		}
	}
}
