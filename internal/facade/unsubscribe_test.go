package facade_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	stdmail "net/mail"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/compose"
	"github.com/cartero-mail/cartero/internal/unsubscribe"
)

const unsubscribeBase = "https://mail.example.com/unsubscribe/"

func newLinks(t *testing.T) *unsubscribe.Links {
	t.Helper()
	links, err := unsubscribe.New(unsubscribeBase, []byte(strings.Repeat("k", unsubscribe.MinKey)))
	if err != nil {
		t.Fatal(err)
	}
	return links
}

// unsubscribers is a fixture that recipients unsubscribe at.
func unsubscribers(t *testing.T, changes ...func(*facade.Config)) (*fixture, *unsubscribe.Links) {
	t.Helper()
	links := newLinks(t)
	f := newFixture(t, append([]func(*facade.Config){func(cfg *facade.Config) {
		cfg.Links = links
		cfg.Unsubscriber, _ = cfg.Jobs.(facade.Unsubscriber) // the store
	}}, changes...)...)
	return f, links
}

// newsletter loads a campaign, and returns the recipients whom a worker finds to mail.
func (f *fixture) newsletter(key string, addresses ...string) []campaign.Claimed {
	f.t.Helper()
	draft := campaign.Draft{
		Key: key, Origin: campaign.OriginKubernetes, JobSize: 10, ListHash: "list", CreatedAt: at,
		Content: campaign.Content{Subject: "News", Text: "Hello", Suppress: true, ListID: "news.example.com", Unsubscribe: campaign.Unsubscribe{Managed: true}},
	}
	if _, err := campaign.NewLoader(f.store, func() time.Time { return at }).Load(f.t.Context(), draft, &people{addresses: addresses}); err != nil {
		f.t.Fatal(err)
	}
	claimed, err := f.store.Claim(f.t.Context(), campaign.Claim{
		JobID: campaign.JobID(key, 0), Token: "t", Limit: 10, Now: at, LeaseUntil: at.Add(time.Minute),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return claimed
}

// people is a list.
type people struct{ addresses []string }

func (p *people) Next(context.Context) (campaign.Recipient, error) {
	if len(p.addresses) == 0 {
		return campaign.Recipient{}, io.EOF
	}
	address := p.addresses[0]
	p.addresses = p.addresses[1:]
	return campaign.Recipient{Address: address}, nil
}

func (*people) Totals() campaign.Totals { return campaign.Totals{} }

func (f *fixture) suppressions() []string {
	f.t.Helper()
	entries, err := f.store.Suppressions(f.t.Context(), "", campaign.SuppressionKey{}, 100)
	if err != nil {
		f.t.Fatal(err)
	}
	all := []string{}
	for _, e := range entries {
		all = append(all, e.Address+" "+e.Scope+" "+string(e.Reason)+" "+e.Source)
	}
	return all
}

// headerURL composes the recipient's mail, and returns the URL in its List-Unsubscribe, as a mail program finds it.
func headerURL(t *testing.T, links *unsubscribe.Links, recipient campaign.Claimed) *url.URL {
	t.Helper()
	content := campaign.Content{
		From: mail.Address{Address: "news@example.com"}, Subject: "News", Text: "Hello", ListID: "news.example.com",
		Unsubscribe: campaign.Unsubscribe{Managed: true},
	}
	template, err := compose.NewTemplate(content.Mail())
	if err != nil {
		t.Fatal(err)
	}
	composed, err := template.Append(nil, compose.Recipient{
		Address: recipient.Address, MessageID: "id@example.com", Date: at, UnsubscribeURL: links.URL(recipient.ID),
	})
	if err != nil {
		t.Fatal(err)
	}
	message, err := stdmail.ReadMessage(bytes.NewReader(composed.Raw))
	if err != nil {
		t.Fatal(err)
	}
	if got := message.Header.Get("List-Unsubscribe-Post"); got != "List-Unsubscribe=One-Click" {
		t.Fatalf("List-Unsubscribe-Post is %q", got)
	}
	text, ok := strings.CutPrefix(message.Header.Get("List-Unsubscribe"), "<")
	text, _, ok2 := strings.Cut(text, ">")
	address, err := url.Parse(text)
	if !ok || !ok2 || err != nil || address.Scheme != "https" {
		t.Fatalf("List-Unsubscribe is %q", message.Header.Get("List-Unsubscribe"))
	}
	return address
}

// oneClick is the request of a mail program (RFC 8058 section 3.2), with nothing that says who asks.
func oneClick(path string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("List-Unsubscribe=One-Click"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// The whole way: the header of a mail, scanners that follow its link, one click, the next campaign.
func TestOneClick(t *testing.T) {
	t.Parallel()
	f, links := unsubscribers(t)
	claimed := f.newsletter("growth/first", "Ada@example.com", "bob@example.com")
	link := headerURL(t, links, claimed[0])

	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodGet} {
		if got := f.do(httptest.NewRequest(method, link.Path, nil)); got.Status != http.StatusOK {
			t.Fatalf("%s: status %d", method, got.Status)
		}
	}
	if got := f.suppressions(); len(got) > 0 {
		t.Fatalf("looking at the page unsubscribed: %q", got)
	}

	for range 2 {
		got := f.do(oneClick(link.Path))
		if got.Status != http.StatusOK || got.Header["Location"] != "" || got.Header["Set-Cookie"] != "" || !strings.Contains(got.Body, "You are unsubscribed") {
			t.Fatalf("one click: %+v", got)
		}
	}
	if diff := cmp.Diff([]string{"ada@example.com news.example.com Unsubscribed growth/first"}, f.suppressions()); diff != "" {
		t.Errorf("the list (-want +got):\n%s", diff)
	}

	next := f.newsletter("growth/second", "ada@example.com", "bob@example.com")
	if len(next) != 1 || next[0].Address != "bob@example.com" {
		t.Errorf("the next campaign mails %+v", next)
	}
	tally, err := f.store.Tally(t.Context(), "growth/second")
	if err != nil || tally.Suppressed != 1 || tally.Total != 2 {
		t.Errorf("the next campaign counts %+v and %v", tally, err)
	}
}

func TestUnsubscribeRequests(t *testing.T) {
	t.Parallel()
	f, links := unsubscribers(t)
	claimed := f.newsletter("growth/first", "ada@example.com")
	path := headerURL(t, links, claimed[0]).Path

	var form bytes.Buffer
	writer := multipart.NewWriter(&form)
	if err := errors.Join(writer.WriteField("List-Unsubscribe", "One-Click"), writer.Close()); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]struct{ contentType, text string }{
		"a mail provider's form": {writer.FormDataContentType(), form.String()},
		"nothing":                {"", ""},
		"too much":               {"application/octet-stream", strings.Repeat("x", 1<<20)},
	} {
		if _, err := f.store.Unsuppress(t.Context(), []campaign.SuppressionKey{{Address: "ada@example.com", Scope: "news.example.com"}}); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body.text))
		r.Header.Set("Content-Type", body.contentType)
		r.Header.Set("X-API-Key", "a wrong one")
		if got := f.do(r); got.Status != http.StatusOK || len(f.suppressions()) != 1 {
			t.Errorf("%s: status %d, list %q", name, got.Status, f.suppressions())
		}
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		if got := f.do(httptest.NewRequest(method, path, nil)); got.Status != http.StatusMethodNotAllowed {
			t.Errorf("%s: status %d", method, got.Status)
		}
	}
}

// What asks tells nothing: neither whether a link is one, nor whether its recipient is still there.
func TestUnknownLinks(t *testing.T) {
	t.Parallel()
	f, links := unsubscribers(t)
	claimed := f.newsletter("growth/first", "ada@example.com")
	valid := headerURL(t, links, claimed[0]).Path
	gone := strings.TrimPrefix(links.URL("0a1b2c3d-4e5f-8000-a123-456789abcdef"), "https://mail.example.com")
	want := f.do(httptest.NewRequest(http.MethodGet, valid, nil))
	var wantRefused reply
	for i, path := range []string{gone, "/unsubscribe/x", valid[:len(valid)-1], valid + "A", "/unsubscribe/" + strings.Repeat("A", 43)} {
		asked := f.do(httptest.NewRequest(http.MethodGet, path, nil))
		refused := f.do(oneClick(path))
		want.Header["X-Request-Id"], wantRefused.Status = asked.Header["X-Request-Id"], http.StatusNotFound
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("GET %s (-want +got):\n%s", path, diff)
		}
		delete(refused.Header, "X-Request-Id")
		if i == 0 {
			wantRefused = refused
		}
		if diff := cmp.Diff(wantRefused, refused); diff != "" || refused.Status != http.StatusNotFound || strings.Contains(refused.Body, "unsubscribed</h1>") {
			t.Errorf("POST %s: status %d (-want +got):\n%s", path, refused.Status, diff)
		}
	}
	if got := f.suppressions(); len(got) > 0 {
		t.Errorf("the list has %q", got)
	}
}

func TestWrongLinksAreSlowedDown(t *testing.T) {
	t.Parallel()
	f, links := unsubscribers(t)
	claimed := f.newsletter("growth/first", "ada@example.com")
	last := reply{}
	for range 11 {
		last = f.do(oneClick("/unsubscribe/x"))
	}
	if last.Status != http.StatusTooManyRequests || last.Header["Retry-After"] == "" {
		t.Errorf("the last wrong one: status %d, headers %v", last.Status, last.Header)
	}
	if got := f.do(oneClick(headerURL(t, links, claimed[0]).Path)); got.Status != http.StatusOK {
		t.Errorf("a right one from there: status %d", got.Status)
	}
}

// away is a database that is not there, and says of what it was asked.
type away struct{}

func (away) Unsubscribe(context.Context, string, time.Time) error { return errAway }

func TestUnsubscribingInAnOutage(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f, links := unsubscribers(t, func(cfg *facade.Config) {
		cfg.Unsubscriber, cfg.Logger = away{}, slog.New(slog.NewTextHandler(&log, nil))
	})
	path := strings.TrimPrefix(links.URL("0a1b2c3d-4e5f-8000-a123-456789abcdef"), "https://mail.example.com")
	got := f.do(oneClick(path))
	if got.Status != http.StatusServiceUnavailable || got.Header["Retry-After"] == "" || !strings.Contains(got.Body, "Nothing has changed yet") {
		t.Errorf("the answer: %+v", got)
	}
	for _, secret := range []string{strings.TrimPrefix(path, "/unsubscribe/"), "0a1b2c3d"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %q: %s", secret, log.String())
		}
	}
}

func TestUnsubscribePage(t *testing.T) {
	t.Parallel()
	f, _ := unsubscribers(t)
	for accept, language := range map[string]string{
		"": "en", "es": "es", "es-MX,es;q=0.9,en;q=0.8": "es", "en-US,es;q=0.5": "en", "fr,es;q=0.3,en;q=0.2": "es", "fr": "en",
		"es;q=0": "en", "es;q=x,en;q=0.1": "en", strings.Repeat("x,", 500) + "es": "en", "\x00;;q=1,,": "en",
	} {
		r := httptest.NewRequest(http.MethodGet, "/unsubscribe/x", nil)
		r.Header.Set("Accept-Language", accept)
		got := f.do(r)
		if got.Header["Content-Language"] != language || !strings.Contains(got.Body, `<html lang="`+language+`">`) {
			t.Errorf("%q: the page is in %q", accept, got.Header["Content-Language"])
		}
	}

	got := f.do(httptest.NewRequest(http.MethodGet, "/unsubscribe/x", nil))
	policy := got.Header["Content-Security-Policy"]
	delete(got.Header, "Content-Security-Policy")
	want := map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Language": "en", "Vary": "Accept-Language", "Cache-Control": "no-store",
		"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "X-Robots-Tag": "noindex, nofollow",
		"X-Request-Id": got.Header["X-Request-Id"],
	}
	if diff := cmp.Diff(want, got.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if !regexp.MustCompile(`^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'$`).MatchString(policy) {
		t.Errorf("the policy is %q", policy)
	}
	if strings.Contains(got.Body, "http") || strings.Contains(got.Body, "<script") {
		t.Errorf("the page needs something from elsewhere: %s", got.Body)
	}
	if elements := elementsOf(t, got.Body); !strings.Contains(elements, "form method=post;input type=hidden name=List-Unsubscribe value=One-Click;button type=submit;") {
		t.Errorf("the page has no form that unsubscribes: %s", elements)
	}
}

// elementsOf lists the page's elements with their attributes.
func elementsOf(t *testing.T, page string) string {
	t.Helper()
	var all strings.Builder
	for tokens := html.NewTokenizer(strings.NewReader(page)); ; {
		switch tokens.Next() {
		case html.ErrorToken:
			return all.String()
		case html.StartTagToken, html.SelfClosingTagToken:
			token := tokens.Token()
			all.WriteString(token.Data)
			for _, a := range token.Attr {
				all.WriteString(" " + a.Key + "=" + a.Val)
			}
			all.WriteString(";")
		}
	}
}

func TestNoUnsubscribingWithoutAKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if got := f.do(oneClick("/unsubscribe/x")); got.Status != http.StatusNotFound || got.Header["Content-Type"] != "application/problem+json" {
		t.Errorf("the answer: %+v", got)
	}
	f.cfg.Links, f.cfg.Unsubscriber = newLinks(t), nil
	if _, err := facade.New(f.cfg); err == nil {
		t.Error("links without an unsubscriber were taken")
	}
}
