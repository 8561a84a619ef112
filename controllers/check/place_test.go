package check_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/controllers/check"
	"github.com/cartero-mail/cartero/internal/fetch"
)

// TestAListOnTheWebIsToldByItsLines has the line in the message, as there is no file to point into.
func TestAListOnTheWebIsToldByItsLines(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lists := map[string]string{
			"/broken": "email,city\nada@example.org,London\n\"bob@example.org,Berne\n", "/empty": "email,city\n", "/nobody": "email,city\nada@,London\n",
		}
		_, _ = io.WriteString(w, lists[r.URL.Path])
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	options := opts(t)
	options.Fetcher, err = fetch.New(fetch.Config{
		AllowPrivate: []string{"127.0.0.1"}, Ports: []int{port}, Dir: t.TempDir(),
		CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	})
	if err != nil {
		t.Fatal(err)
	}
	begin, _, _ := strings.Cut(small, "    inline:")
	for path, want := range map[string]string{
		"/broken": "line 3: a quote is opened and never closed",
		"/empty":  "the list is empty: it has no entries",
		"/nobody": "the list has no address that can be mailed",
	} {
		report := lint(t, parse(t, begin+"    urlRef: {url: \""+server.URL+path+"\"}\n"), options)
		if diff := cmp.Diff([]string{"spec.recipients.urlRef: " + want}, errorsOf(report)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

func errorsOf(report *check.Report) (all []string) {
	for _, f := range report.Findings {
		if f.Severity == check.Error {
			all = append(all, f.Path+": "+f.Message)
		}
	}
	return all
}

// TestWhatIsWrongIsToldWhereItIs has faults that everybody's mail has at the field, and not at a recipient.
func TestWhatIsWrongIsToldWhereItIs(t *testing.T) {
	t.Parallel()
	fine := strings.Replace(small, "      - address: bob@example.org\n", "", 1)
	for _, test := range []struct {
		name, old, edit, path string
		line                  int
	}{
		{"a header field", "    html: \"HTML\"\n", "    html: a\n    headers:\n      X-A: " + strings.Repeat("x", 950) + "\n", "spec.message.headers.X-A", 12},
		{"a header field twice", "    html: \"HTML\"\n", "    html: a\n    headers:\n      X-A: a\n      x-a: b\n", "spec.message.headers.x-a", 13},
		{
			"no link", "mode: Managed}", "mode: External, mailto: leave@example.com}", "spec.message.html", 10,
		},
	} {
		text := strings.Replace(strings.Replace(fine, test.old, test.edit, 1), "HTML", "{{unsubscribeURL}}", 1)
		report := lint(t, parse(t, text), opts(t))
		if len(report.Findings) != 1 || report.Findings[0].Path != test.path || report.Findings[0].Line != test.line {
			t.Errorf("%s: %+v", test.name, report.Findings)
		}
	}
}
