package fetch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/fetch"
)

const list = "email,name\nana@example.com,Ana\n"

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

func pack(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// site is a web server on the loopback whose handlers a test names.
type site struct {
	*httptest.Server
	config fetch.Config // lets a client ask it
}

func newSite(t *testing.T, routes map[string]http.HandlerFunc) *site {
	t.Helper()
	mux := http.NewServeMux()
	for path, handler := range routes {
		mux.HandleFunc(path, handler)
	}
	server := httptest.NewUnstartedServer(mux)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return &site{server, fetch.Config{
		AllowPrivate: []string{"127.0.0.0/8"}, Ports: []int{port}, Dir: t.TempDir(),
		CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}}
}

// get fetches with the site's configuration as changed.
func (s *site) get(t *testing.T, r fetch.Request, change func(*fetch.Config)) (*fetch.File, error) {
	t.Helper()
	config := s.config
	config.Dir = t.TempDir()
	if change != nil {
		change(&config)
	}
	client, err := fetch.New(config)
	if err != nil {
		t.Fatal(err)
	}
	file, err := client.Get(t.Context(), r)
	if file != nil {
		t.Cleanup(func() {
			if err := file.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	left, readErr := os.ReadDir(config.Dir)
	if readErr != nil || len(left) > 0 {
		t.Errorf("%d files are listed, %v", len(left), readErr)
	}
	return file, err
}

func text(body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		_, _ = io.WriteString(w, body)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	packed := pack(t, list)
	type got struct {
		Content, SHA256, ContentSHA256 string
		Size                           int64
	}
	plain := got{list, sum(list), sum(list), int64(len(list))}
	site := newSite(t, map[string]http.HandlerFunc{
		"/list.csv":    text(list),
		"/wrong-type":  text(list, "Content-Type", "image/png"),
		"/list.csv.gz": text(packed),
		"/encoded":     text(packed, "Content-Encoding", "gzip"),
		"/both":        text(pack(t, packed), "Content-Encoding", "x-gzip"),
		"/empty":       text(""),
		"/moved":       http.RedirectHandler("/list.csv", http.StatusFound).ServeHTTP,
		"/moved-twice": http.RedirectHandler("/moved", http.StatusPermanentRedirect).ServeHTTP,
		"/asked": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Header.Get("Accept-Encoding"), " ", r.Header.Get("User-Agent"), " ", r.Header.Get("Referer"))
		},
		"/signed":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/asked", http.StatusFound) },
		"/chunked": func(w http.ResponseWriter, _ *http.Request) { flush(w, list[:5]); flush(w, list[5:]) },
	})
	const asked = "identity cartero "
	tests := []struct {
		name    string
		request fetch.Request
		want    got
	}{
		{"plain", fetch.Request{URL: "/list.csv"}, plain},
		{"with its checksum, in capitals", fetch.Request{URL: "/list.csv", SHA256: strings.ToUpper(sum(list))}, plain},
		{"of a wrong type", fetch.Request{URL: "/wrong-type"}, plain},
		{"in chunks", fetch.Request{URL: "/chunked"}, plain},
		{"as large as it may be", fetch.Request{URL: "/list.csv", MaxBytes: int64(len(list))}, plain},
		{"empty", fetch.Request{URL: "/empty", Gunzip: true}, got{"", sum(""), sum(""), 0}},
		{"gzip, decompressed", fetch.Request{URL: "/list.csv.gz", Gunzip: true, SHA256: sum(packed)}, got{list, sum(packed), sum(list), int64(len(list))}},
		{"gzip, as it is", fetch.Request{URL: "/list.csv.gz"}, got{packed, sum(packed), sum(packed), int64(len(packed))}},
		{"encoded by the server", fetch.Request{URL: "/encoded"}, got{list, sum(packed), sum(list), int64(len(list))}},
		{"gzip, encoded by the server", fetch.Request{URL: "/both", Gunzip: true}, got{list, sum(pack(t, packed)), sum(list), int64(len(list))}},
		{"redirected", fetch.Request{URL: "/moved-twice"}, plain},
		{"what servers are told", fetch.Request{URL: "/asked"}, got{asked, sum(asked), sum(asked), int64(len(asked))}},
		{"what servers are told after a redirect", fetch.Request{URL: "/signed?signature=secret"}, got{asked, sum(asked), sum(asked), int64(len(asked))}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.request.URL = site.URL + test.request.URL
			file, err := site.get(t, test.request, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the same each time
				content, err := io.ReadAll(file.Open())
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, got{string(content), file.SHA256(), file.ContentSHA256(), file.Size()}); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

func flush(w http.ResponseWriter, part string) {
	_, _ = io.WriteString(w, part)
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

// endless writes until nobody listens any more.
func endless(w http.ResponseWriter, _ *http.Request) {
	block := bytes.Repeat([]byte("a@example.com\n"), 4096)
	for {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// loris sends the beginning, and then nothing until nobody listens any more.
func loris(w http.ResponseWriter, r *http.Request) {
	flush(w, list)
	<-r.Context().Done()
}

func TestGetRefuses(t *testing.T) {
	t.Parallel()
	bomb := pack(t, strings.Repeat("a@example.com\n", 1<<20))
	site := newSite(t, map[string]http.HandlerFunc{
		"/list.csv": text(list),
		"/list.gz":  text(pack(t, list)),
		"/endless":  endless,
		"/loris":    loris,
		"/mute":     func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"/bomb":     text(bomb),
		"/bomb2":    text(bomb, "Content-Encoding", "gzip"),
		"/damaged":  text(pack(t, list)[:25]),
		"/br":       text("x", "Content-Encoding", "br"),
		"/metadata": http.RedirectHandler("https://169.254.169.254/latest/meta-data/?token=secret", http.StatusFound).ServeHTTP,
		"/localhost": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://localhost"+r.URL.Path, http.StatusFound)
		},
		"/http":       http.RedirectHandler("http://example.com/list.csv", http.StatusFound).ServeHTTP,
		"/credential": http.RedirectHandler("https://user:secret@example.com/", http.StatusFound).ServeHTTP,
		"/port":       http.RedirectHandler("https://example.com:6379/", http.StatusFound).ServeHTTP,
		"/loop":       http.RedirectHandler("/loop", http.StatusFound).ServeHTTP,
		"/gone":       func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", http.StatusNotFound) },
		"/denied":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", http.StatusForbidden) },
		"/busy":       func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", http.StatusServiceUnavailable) },
		"/slow-down":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", http.StatusTooManyRequests) },
		"/nothing":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"/part":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPartialContent) },
		"/broken": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			flush(w, list)
			panic(http.ErrAbortHandler)
		},
	})
	short := func(field func(*fetch.Config) *time.Duration) func(*fetch.Config) {
		return func(c *fetch.Config) { *field(c) = 50 * time.Millisecond }
	}
	tests := []struct {
		name    string
		request fetch.Request
		change  func(*fetch.Config)
		want    string // reason, ! if it is temporary, and text
	}{
		{
			"another checksum",
			fetch.Request{URL: "/list.csv", SHA256: sum("x")},
			nil,
			"ChecksumMismatch 127.0.0.1: the file has the sha256 " + sum(list) + ", not the one given: restore the file, or give its new sha256",
		},
		{"no checksum", fetch.Request{URL: "/list.csv", SHA256: "abc"}, nil, "InvalidChecksum the sha256 is not 64 hexadecimal digits"},
		{
			"too large by what it says",
			fetch.Request{URL: "/list.csv", MaxBytes: 10},
			nil,
			"TooLarge 127.0.0.1: the file is larger than 10 bytes: split or compress it",
		},
		{
			"endless",
			fetch.Request{URL: "/endless"},
			func(c *fetch.Config) { c.MaxBytes = 1 << 20 },
			"TooLarge 127.0.0.1: the file is larger than 1048576 bytes: split or compress it",
		},
		{
			"the request can't raise the limit",
			fetch.Request{URL: "/endless", MaxBytes: 1 << 30},
			func(c *fetch.Config) { c.MaxBytes = 1 << 20 },
			"TooLarge 127.0.0.1: the file is larger than 1048576 bytes: split or compress it",
		},
		{"idle", fetch.Request{URL: "/loris"}, short(func(c *fetch.Config) *time.Duration { return &c.IdleTimeout }), "Timeout! 127.0.0.1: the server is too slow"},
		{"all the time used up", fetch.Request{URL: "/loris"}, short(func(c *fetch.Config) *time.Duration { return &c.TotalTimeout }), "Timeout! 127.0.0.1: the server is too slow"},
		{"no answer", fetch.Request{URL: "/mute"}, short(func(c *fetch.Config) *time.Duration { return &c.HeaderTimeout }), "Timeout! 127.0.0.1: the server is too slow"},
		{
			"bomb",
			fetch.Request{URL: "/bomb", Gunzip: true},
			nil,
			"TooLarge 127.0.0.1: what it decompresses to is out of proportion to its size, as in an archive bomb",
		},
		{
			"encoded bomb",
			fetch.Request{URL: "/bomb2"},
			nil,
			"TooLarge 127.0.0.1: what it decompresses to is out of proportion to its size, as in an archive bomb",
		},
		{
			"too large when decompressed",
			fetch.Request{URL: "/list.gz", Gunzip: true},
			func(c *fetch.Config) { c.MaxContent = 10 },
			"TooLarge 127.0.0.1: what it decompresses to is too large: split the file",
		},
		{"damaged", fetch.Request{URL: "/damaged", Gunzip: true}, nil, "Damaged 127.0.0.1: its gzip compression is damaged: write the file anew"},
		{
			"another encoding",
			fetch.Request{URL: "/br"},
			nil,
			"Encoding 127.0.0.1: the server encodes the file in a way that was not asked for: plain or gzip is",
		},
		{
			"redirect to the metadata service",
			fetch.Request{URL: "/metadata"},
			nil,
			"ForbiddenAddress 127.0.0.1: it redirects to where nothing is fetched from: 169.254.169.254: its address is not a public one: " +
				"serve the file publicly, or have the operator allow the host (FETCH_ALLOW_HOSTS)",
		},
		{
			"redirect to http",
			fetch.Request{URL: "/http"},
			nil,
			"InvalidURL 127.0.0.1: it redirects to where nothing is fetched from: the URL must begin with https://",
		},
		{
			"redirect with credentials",
			fetch.Request{URL: "/credential"},
			nil,
			"InvalidURL 127.0.0.1: it redirects to where nothing is fetched from: the URL has a user or password in it: serve the file in another way",
		},
		{
			"redirect to another port",
			fetch.Request{URL: "/port"},
			nil,
			"ForbiddenHost 127.0.0.1: it redirects to where nothing is fetched from: example.com: the port 6379 is not among those that the operator allows (FETCH_ALLOW_PORTS)",
		},
		{"redirects without end", fetch.Request{URL: "/loop"}, nil, "Redirects 127.0.0.1: it redirects more than 3 times: name the file's last URL"},
		{"not found", fetch.Request{URL: "/gone?token=secret"}, nil, "Status 127.0.0.1: the server has no such file (status 404)"},
		{
			"denied",
			fetch.Request{URL: "/denied"},
			nil,
			"Status 127.0.0.1: the server answers with status 403: let the file be read without credentials, or renew a signed URL",
		},
		{"busy", fetch.Request{URL: "/busy"}, nil, "Status! 127.0.0.1: the server answers with status 503"},
		{"too many requests", fetch.Request{URL: "/slow-down"}, nil, "Status! 127.0.0.1: the server answers with status 429"},
		{"no content", fetch.Request{URL: "/nothing"}, nil, "Status 127.0.0.1: the server answers with status 204, not with the file"},
		{"a part", fetch.Request{URL: "/part"}, nil, "Status 127.0.0.1: the server answers with status 206, not with the file"},
		{"broken off", fetch.Request{URL: "/broken"}, nil, "Unreachable! 127.0.0.1: the connection broke off"},
		{
			"a certificate of nobody",
			fetch.Request{URL: "/list.csv"},
			func(c *fetch.Config) { c.CA = nil },
			"Certificate 127.0.0.1: the server's certificate is signed by nobody who is trusted here (FETCH_CA_FILE)",
		},
		{
			"loopback",
			fetch.Request{URL: "/list.csv"},
			func(c *fetch.Config) { c.AllowPrivate = nil },
			"ForbiddenAddress 127.0.0.1: its address is not a public one: serve the file publicly, or have the operator allow the host (FETCH_ALLOW_HOSTS)",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.request.URL = site.URL + test.request.URL
			_, err := site.get(t, test.request, test.change)
			own, ok := errors.AsType[*fetch.Error](err)
			if !ok {
				t.Fatalf("got %v, want an *Error", err)
			}
			got := string(own.Reason)
			if own.Temporary {
				got += "!"
			}
			if diff := cmp.Diff(test.want, got+" "+err.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells too much: %v", err)
			}
		})
	}
}

// A name is only known to be harmless when a connection is made: what it meant before may have changed.
func TestGetLooksAtTheAddressOfTheConnection(t *testing.T) {
	t.Parallel()
	site := newSite(t, map[string]http.HandlerFunc{"/list.csv": text(list)})
	named := strings.Replace(site.URL, "127.0.0.1", "localhost", 1) + "/list.csv"

	_, err := site.get(t, fetch.Request{URL: named}, func(c *fetch.Config) { c.AllowPrivate = []string{"10.0.0.0/8"} })
	if own, ok := errors.AsType[*fetch.Error](err); !ok || own.Reason != fetch.ReasonForbiddenAddress || own.Host != "localhost" {
		t.Errorf("localhost: %v", err)
	}
	// The name is allowed; that the certificate is for another one shows that a connection was made.
	_, err = site.get(t, fetch.Request{URL: named}, func(c *fetch.Config) { c.AllowPrivate = []string{"localhost"} })
	if own, ok := errors.AsType[*fetch.Error](err); !ok || own.Reason != fetch.ReasonCertificate {
		t.Errorf("localhost, allowed: %v", err)
	}
}

func TestGetOfNobody(t *testing.T) {
	t.Parallel()
	site := newSite(t, nil)
	site.Close()
	_, err := site.get(t, fetch.Request{URL: site.URL + "/?secret"}, nil)
	if own, ok := errors.AsType[*fetch.Error](err); !ok || own.Reason != fetch.ReasonUnreachable || !own.Temporary ||
		err.Error() != "127.0.0.1: it refuses connections" {
		t.Errorf("got %v", err)
	}
}

func TestGetStopsWithItsCaller(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	site := newSite(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		flush(w, list)
		cancel()
		<-r.Context().Done()
	}})
	client, err := fetch.New(site.config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(ctx, fetch.Request{URL: site.URL}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestGetNeedsItsDirectory(t *testing.T) {
	t.Parallel()
	site := newSite(t, map[string]http.HandlerFunc{"/": text(list)})
	config := site.config
	config.Dir += "/missing"
	client, err := fetch.New(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Get(t.Context(), fetch.Request{URL: site.URL})
	if _, own := errors.AsType[*fetch.Error](err); own || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// Whatever the environment says, only the configuration names a proxy.
func TestProxy(t *testing.T) {
	site := newSite(t, map[string]http.HandlerFunc{"/list.csv": text(list)})
	asked := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		http.Error(w, "no", http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	if _, err := site.get(t, fetch.Request{URL: site.URL + "/list.csv"}, nil); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = site.get(t, fetch.Request{URL: "https://files.example/list.csv"}, func(c *fetch.Config) { c.Proxy = address })
	if own, ok := errors.AsType[*fetch.Error](err); !ok || own.Reason != fetch.ReasonUnreachable {
		t.Errorf("got %v", err)
	}
	if got := <-asked; got != "CONNECT files.example:443" {
		t.Errorf("the proxy was asked %q", got)
	}
}
