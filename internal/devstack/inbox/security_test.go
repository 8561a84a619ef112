package inbox

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Whatever a mail holds, the inbox's own pages show it as text, and the frame with its HTML can run nothing.
func TestMailsCannotRunScripts(t *testing.T) {
	t.Parallel()
	in := startInbox(t, t.TempDir())
	const attack = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	text := "From: \"" + attack + "\" <a@example.com>\r\nTo: " + attack + " <b@example.com>\r\nSubject: " + attack + "\r\nX-" + "Evil: " + attack +
		"\r\nMessage-ID: <" + attack + ">\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>" + attack + "</p>\r\n"
	send(t, in, text, "b@example.com")

	for _, path := range []string{"/", "/?query=%22%3E%3Cscript%3Ealert(1)", "/messages/1", "/messages/1?view=text", "/messages/1?view=headers", "/messages/1?view=raw"} {
		got := get(t, in, path)
		if strings.Contains(got.Body, "<script>alert") || strings.Contains(got.Body, "<img src=x") {
			t.Errorf("%s is not escaped:\n%s", path, got.Body)
		}
		policy := got.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy %q lacks %s", path, policy, part)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("%s: the policy %q", path, policy)
		}
	}
	frame := get(t, in, "/messages/1/html")
	policy := frame.Header.Get("Content-Security-Policy")
	if !strings.Contains(frame.Body, attack) { // shown as it is, harmless under its policy
		t.Errorf("the frame shows %s", frame.Body)
	}
	if !strings.Contains(policy, "; sandbox allow-popups") || strings.Contains(policy, "allow-scripts") || strings.Contains(policy, "allow-same-origin") ||
		strings.Contains(policy, "script-src") || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "http") {
		t.Errorf("the frame's policy is %q", policy)
	}
	if policy := get(t, in, "/messages/1/html?images=1").Header.Get("Content-Security-Policy"); !strings.Contains(policy, "img-src data: https: http:;") || !strings.Contains(policy, "; sandbox") {
		t.Errorf("with remote images the frame's policy is %q", policy)
	}
}

// hostileMails try to have a browser run something, each in its own way.
var hostileMails = map[string]string{
	"markup of the body": hostile("text/html; charset=utf-8", strings.Join([]string{
		`<!doctype html><html><head><base href="https://evil.example/"><meta http-equiv="refresh" content="0;url=javascript:alert(1)">`,
		`<meta http-equiv="Content-Security-Policy" content="script-src *"><link rel="stylesheet" href="/messages/1/attachments/1"></head>`,
		`<body onload="alert(1)"><script>alert(1)</script><script src="/messages/1/attachments/1"></script><img src=x onerror=alert(1)>`,
		`<svg onload="alert(1)"><script>alert(1)</script></svg><a href="javascript:alert(1)">a</a><a href="java&#10;script:alert(1)" target=_top>b</a>`,
		`<iframe srcdoc="<script>alert(1)</script>"></iframe><iframe src="javascript:alert(1)"></iframe><object data="data:text/html,<script>alert(1)</script>"></object>`,
		`<form action="javascript:alert(1)"><button>c</button></form><form action="/clear" method="post"><button>d</button></form></body></html>`,
	}, "\r\n")),
	"end of the frame and the page": hostile("text/html", `</iframe></body></html><script>alert(1)</script>`),
	"text that is HTML":             hostile("text/plain; charset=utf-8", `</pre><script>alert(1)</script><img src=x onerror=alert(1)>`),
	"no type":                       hostile("", `<html><script>alert(1)</script></html>`),
	"UTF-7":                         hostile("text/html; charset=utf-7", `+ADw-script+AD4-alert(1)+ADw-/script+AD4-`),
	"XHTML body":                    hostile("application/xhtml+xml", `<html xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></html>`),
	"SVG body":                      hostile("image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`),
	"attachments": hostile("multipart/mixed; boundary=m", strings.Join([]string{
		"--m", "Content-Type: image/svg+xml", `Content-Disposition: inline; filename="logo.svg"`, "Content-ID: <logo>", "",
		`<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>`,
		"--m", "Content-Type: text/html", `Content-Disposition: attachment; filename="<script>alert(1)</script>.html"`, "", `<script>alert(1)</script>`,
		"--m", "Content-Type: text/javascript", `Content-Disposition: attachment; filename="a.js\"; x=\""`, "", `alert(1)`,
		"--m", "Content-Type: text/xml", `Content-Disposition: attachment; filename*=utf-8''a%0D%0AContent-Type%3A%20text/html%0D%0A%0D%0A.xml`, "",
		`<x:script xmlns:x="http://www.w3.org/1999/xhtml">alert(1)</x:script>`,
		"--m", "Content-Type: multipart/x-mixed-replace", `Content-Disposition: attachment`, "", `<script>alert(1)</script>`,
		"--m", "Content-Type: text/html", "", `<img src="cid:logo"><iframe src="cid:logo"></iframe><object data="cid:logo"></object><a href="cid:logo">e</a>`,
		"--m--",
	}, "\r\n")),
}

// hostile is a mail whose header fields attack too.
func hostile(contentType, body string) string {
	const attack = `</title></dd>"'><script>alert(1)</script><img src=x onerror=alert(1)>`
	if contentType != "" {
		contentType = "MIME-Version: 1.0\r\nContent-Type: " + contentType + "\r\n"
	}
	return "From: \"" + attack + "\" <a@example.com>\r\nTo: " + attack + " <b@example.com>\r\nSubject: " + attack + "\r\nX" + attack + ": " + attack +
		"\r\nMessage-ID: <" + attack + ">\r\n" + contentType + "\r\n" + body + "\r\n"
}

// Every answer with something of a mail in it is one of four: a page of ours without anything active but our script, a
// document without an origin that may run nothing, a file to save, or JSON.
func TestMailsRunNothingInThePagesOrigin(t *testing.T) {
	t.Parallel()
	for name, mail := range hostileMails {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := startInbox(t, t.TempDir())
			send(t, in, mail, "b@example.com")
			_, raw, err := in.store.raw(1)
			if err != nil {
				t.Fatal(err)
			}
			paths := []string{
				"/", "/?fragment=1", "/?query=%3Cscript%3Ealert(1)%3C/script%3E", "/messages/1", "/messages/1?view=html", "/messages/1?view=html&images=1",
				"/messages/1?view=text", "/messages/1?view=headers", "/messages/1?view=raw", "/messages/1/html", "/messages/1/html?images=1",
				"/messages/1/raw", "/api/messages", "/api/messages/1", "/messages/%3Cscript%3E", "/messages/1/attachments/%3Cscript%3E", "/%3Cscript%3Ealert(1)",
			}
			for i := range parseContent(raw).Attachments {
				paths = append(paths, fmt.Sprintf("/messages/1/attachments/%d", i+1))
			}
			for _, path := range paths {
				checkConfined(t, path, request(t, in, http.MethodGet, path, nil))
			}
		})
	}
}

func checkConfined(t *testing.T, path string, got answer) {
	t.Helper()
	if got.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s may be sniffed: %v", path, got.Header)
	}
	policy := got.Header.Get("Content-Security-Policy")
	kind := cmp.Or(got.Header.Get("Content-Type"), "none")
	switch {
	case strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment"):
		if policy != downloadPolicy || kind != "application/octet-stream" && kind != "message/rfc822" {
			t.Errorf("%s is a download as %q under %q", path, kind, policy)
		}
	case kind == "application/json", kind == "text/plain; charset=utf-8":
	case kind != "text/html; charset=utf-8":
		t.Errorf("%s answers with %q", path, kind)
	case strings.Contains(path, "/html"):
		if policy != fmt.Sprintf(mailPolicy, "", "") && policy != fmt.Sprintf(mailPolicy, " https: http:", " https: http:") {
			t.Errorf("%s, the mail's own HTML, is under %q", path, policy)
		}
	default:
		if policy != pagePolicy {
			t.Errorf("%s is under %q", path, policy)
		}
		checkInert(t, path, got.Body)
	}
}

// checkInert reads a page of ours as a browser does and finds everything that could run.
func checkInert(t *testing.T, path, page string) {
	t.Helper()
	document, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for node := range document.Descendants() {
		if node.Type != html.ElementNode {
			continue
		}
		attributes := map[string]string{}
		for _, a := range node.Attr {
			attributes[a.Key] = a.Val
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "srcdoc" {
				t.Errorf("%s: <%s %s=%q>", path, node.Data, a.Key, a.Val)
			}
		}
		for _, key := range []string{"href", "src", "action", "data"} {
			if address := attributes[key]; address != "" && address[0] != '/' && address[0] != '?' && address[0] != '#' {
				t.Errorf("%s: <%s> leads to %q", path, node.Data, address)
			}
		}
		switch node.Data {
		case "script":
			if attributes["src"] != "/assets/app.js" || node.FirstChild != nil {
				t.Errorf("%s: a script of somebody else: %v", path, attributes)
			}
		case "iframe":
			if attributes["sandbox"] != "allow-popups allow-popups-to-escape-sandbox" {
				t.Errorf("%s: a frame without its sandbox: %v", path, attributes)
			}
		case "object", "embed", "base", "svg", "math", "style", "template":
			t.Errorf("%s: <%s> of somebody else", path, node.Data)
		case "img":
			if attributes["src"] != "/assets/favicon.svg" {
				t.Errorf("%s: an image of somebody else: %v", path, attributes)
			}
		}
	}
}

func TestOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	in := startInbox(t, t.TempDir())
	send(t, in, testMail("a@example.com", "ana@example.com", "a"), "ana@example.com")
	t.Cleanup(func() { // after the cases, before the inbox is closed
		if in.Count() != 1 {
			t.Error("another site emptied the inbox")
		}
	})
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	tests := []struct {
		name, method, path string
		edit               func(*http.Request)
		want               int
	}{
		{"rebound name", http.MethodGet, "/api/messages", host("evil.example:8025"), http.StatusForbidden},
		{"rebound name that looks local", http.MethodGet, "/", host("127.0.0.1.evil.example"), http.StatusForbidden},
		{"localhost", http.MethodGet, "/", host("localhost:8025"), http.StatusOK},
		{"IPv6 loopback", http.MethodGet, "/", host("[::1]:8025"), http.StatusOK},
		{"DELETE of another origin", http.MethodDelete, "/api/messages", header("Origin", "https://evil.example"), http.StatusForbidden},
		{"POST of another origin", http.MethodPost, "/clear", header("Sec-Fetch-Site", "cross-site"), http.StatusForbidden},
		{"POST of a frame", http.MethodPost, "/clear", header("Origin", "null"), http.StatusForbidden},
		{"wrong method", http.MethodPut, "/api/messages", nil, http.StatusMethodNotAllowed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := request(t, in, test.method, test.path, test.edit); got.Status != test.want {
				t.Errorf("%d %s, want %d", got.Status, got.Body, test.want)
			}
		})
	}
}

func TestMailsAreDeletedOnRequest(t *testing.T) {
	t.Parallel()
	in := startInbox(t, t.TempDir())
	send(t, in, testMail("a@example.com", "ana@example.com", "a"), "ana@example.com")
	ownPage := func(r *http.Request) { r.Header.Set("Origin", in.URL()) }
	if got := request(t, in, http.MethodPost, "/clear", ownPage); got.Status != http.StatusSeeOther || in.Count() != 0 {
		t.Errorf("the page's own button: %d, %d mails left", got.Status, in.Count())
	}
	send(t, in, testMail("a@example.com", "ana@example.com", "a"), "ana@example.com")
	if got := request(t, in, http.MethodDelete, "/api/messages", nil); got.Status != http.StatusNoContent || in.Count() != 0 {
		t.Errorf("DELETE by curl: %d, %d mails left", got.Status, in.Count())
	}
}
