package inbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestListIsPagedAndSearched(t *testing.T) {
	t.Parallel()
	in := startInbox(t, t.TempDir())
	for i := range PageSize + 3 {
		to := fmt.Sprintf("user%02d@example.com", i)
		body := "plain"
		if i%10 == 7 {
			body = "Der gr=C3=BCne =\r\nW=61ld"
		}
		send(t, in, testMail(fmt.Sprintf("m%d@example.com", i), "Ana <"+to+">", fmt.Sprintf("Letter %d", i%2),
			"MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable", "", body), to)
	}
	tests := []struct {
		name, query string
		page        int
		want        Page
		ids         []uint64
	}{
		{"first page, the newest first", "", 1, Page{Page: 1, Pages: 2, Total: 53}, []uint64{53, 52, 51}},
		{"last page", "", 2, Page{Page: 2, Pages: 2, Total: 53}, []uint64{3, 2, 1}},
		{"beyond the last page", "", 9, Page{Page: 2, Pages: 2, Total: 53}, []uint64{3, 2, 1}},
		{"address", "USER07@", 1, Page{Query: "USER07@", Page: 1, Pages: 1, Total: 1}, []uint64{8}},
		{"sender's name", "niña user08", 1, Page{Query: "niña user08", Page: 1, Pages: 1, Total: 1}, []uint64{9}},
		{"subject and address", "user1 letter 1", 1, Page{Query: "user1 letter 1", Page: 1, Pages: 1, Total: 10}, []uint64{20, 19, 18}},
		{"decoded text", "grüne wald", 1, Page{Query: "grüne wald", Page: 1, Pages: 1, Total: 5}, []uint64{48, 38, 28}},
		{"decoded text without accents", "GRUNE", 1, Page{Query: "GRUNE", Page: 1, Pages: 1, Total: 5}, []uint64{48, 38, 28}},
		{"nothing", "grüne wiese", 1, Page{Query: "grüne wiese", Page: 1, Pages: 1, Total: 0}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := get(t, in, fmt.Sprintf("/api/messages?query=%s&page=%d", strings.ReplaceAll(test.query, " ", "+"), test.page))
			var got Page
			if err := json.Unmarshal([]byte(r.Body), &got); err != nil {
				t.Fatal(err)
			}
			var ids []uint64
			for _, m := range got.Messages[:min(3, len(got.Messages))] {
				ids = append(ids, m.ID)
			}
			got.Messages = nil
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(test.ids, ids); diff != "" {
				t.Errorf("ids (-want +got)\n%s", diff)
			}
		})
	}
	page := get(t, in, "/?query=user07%40").Body
	for _, part := range []string{`value="user07@"`, "user07@example.com", "<bdi>Ana</bdi>", `href="/messages/8"`} {
		if !strings.Contains(page, part) {
			t.Errorf("the page has no %s", part)
		}
	}
	if fragment := get(t, in, "/?fragment=1&page=2").Body; strings.Contains(fragment, "<html") || !strings.Contains(fragment, "Page 2 of 2") {
		t.Errorf("the fragment is %s", fragment)
	}
}

func TestMessageViews(t *testing.T) {
	t.Parallel()
	in := startInbox(t, t.TempDir())
	raw := multipartMail(`<html><head lang=es><title>x</title></head><body><img src="cid:logo"><img src="cid:other"><p>árbol</p></body></html>`)
	send(t, in, raw, "ana@example.com")

	contains := map[string][]string{
		"/messages/1":               {`<iframe class="mail"`, `sandbox="allow-popups allow-popups-to-escape-sandbox"`, "árbol", "evil.html", "/messages/1/attachments/1"},
		"/messages/1?view=text":     {"El árbol &lt;3"},
		"/messages/1?view=headers":  {">two folded<", ">one<", `scope="row">Subject<`, "árbol"},
		"/messages/1?view=raw":      {"=?UTF-8?B?w6FyYm9s?=", "El =E1rbol &lt;3"},
		"/messages/1/html":          {`<head lang=es><base target="_blank">`, `src="data:image/png;base64,iVBORw0KGgo="`, `src="cid:other"`},
		"/api/messages/1":           {`"text":"El árbol`, `"recipients":["ana@example.com"]`, `"name":"evil.html"`},
		"/messages/1/attachments/1": {"<script>alert(1)</script>"},
	}
	for path, parts := range contains {
		body := get(t, in, path).Body
		for _, part := range parts {
			if !strings.Contains(body, part) && !strings.Contains(strings.ReplaceAll(body, `\u003c`, "<"), part) {
				t.Errorf("%s has no %s in\n%s", path, part, body)
			}
		}
	}
	download := get(t, in, "/messages/1/raw")
	if download.Body != raw || download.Header.Get("Content-Disposition") != `attachment; filename="message-1.eml"` {
		t.Errorf("the download is %v %q", download.Header, download.Body)
	}
	if got := get(t, in, "/messages/1/attachments/1").Header; !strings.HasPrefix(got.Get("Content-Disposition"), "attachment;") ||
		got.Get("X-Content-Type-Options") != "nosniff" || !strings.HasSuffix(got.Get("Content-Security-Policy"), "; sandbox") {
		t.Errorf("the attachment could be shown by the browser: %v", got)
	}
	for _, path := range []string{"/messages/2", "/messages/0", "/messages/x", "/messages/1/attachments/9", "/messages/9/html", "/assets/list.html", "/assets/x"} {
		if got := request(t, in, http.MethodGet, path, nil); got.Status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.Status)
		}
	}
}

func TestSummaryOfTheAPI(t *testing.T) {
	t.Parallel()
	in := startInbox(t, t.TempDir())
	text := testMail("a@example.com", "ana@example.com", "a")
	send(t, in, text, "ana@example.com")
	send(t, in, text, "ana@example.com")
	want := fmt.Sprintf(`{"messages":2,"deliveries":2,"messageIds":1,"recipients":1,"duplicates":1,"lastId":2,"bytes":%d,"refused":{},"perRecipient":{"ana@example.com":2}}`+"\n", 2*len(text))
	if diff := cmp.Diff(want, get(t, in, "/api/summary?recipients=true").Body); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if page := get(t, in, "/").Body; !strings.Contains(page, `class="alarm"><dt>Duplicates</dt><dd>1</dd>`) {
		t.Errorf("the page does not show the duplicate:\n%s", page)
	}
}

func TestMailsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	in := startInbox(t, t.TempDir())
	for _, raw := range []string{
		"no header at all\r\n", "\r\n", "Subject: \xff\xfe\r\n\r\n\xff\r\n", "Content-Type: multipart/mixed\r\n\r\nx\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
		"Content-Type: text/html; charset=nonsense\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%\r\n", " folded first\r\nA: b\r\n\r\nx\r\n",
	} {
		send(t, in, raw, "ana@example.com")
		id := in.Count()
		for _, view := range []string{"", "?view=text", "?view=headers", "?view=raw", "?view=html", "/html"} {
			get(t, in, fmt.Sprintf("/messages/%d%s", id, view))
		}
		get(t, in, fmt.Sprintf("/api/messages/%d", id))
		get(t, in, "/?query=somewhere")
	}
}

func TestSearchText(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ raw, want string }{
		"the text of alternatives": {multipartMail("<p>HTML</p>"), "El árbol <3\n alert(1) "},
		"HTML":                     {"Content-Type: text/html\r\n\r\n<style>p{}</style><p>Caf&eacute;<br>ol\u00e9</p", "  Café olé "},
		"base64":                   {"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nSG9s\r\nYQ==\r\n", "Hola"},
		"no header":                {"nothing", "nothing"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, strings.TrimSuffix(searchText([]byte(test.raw)), "\n")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567"} {
		if got := formatCount(n); got != want {
			t.Errorf("formatCount(%d) = %q", n, got)
		}
	}
	for n, want := range map[int]string{5: "5 B", 1500: "1.5 kB", 2_500_000: "2.5 MB"} {
		if got := formatSize(n); got != want {
			t.Errorf("formatSize(%d) = %q", n, got)
		}
	}
}
