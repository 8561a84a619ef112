package contract

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/harness"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	onEachSystem(t, true, nil, func(s system) {
		t := s.t
		want := answer{http.StatusOK, "application/json", []byte(`{"status": "ok"}`)}
		for _, apiKey := range []string{"", "wrong"} {
			if diff := cmp.Diff(want, s.ask(t, http.MethodGet, "/health", apiKey, ""), cmp.AllowUnexported(answer{})); diff != "" {
				t.Errorf("with the key %q (-want +got):\n%s", apiKey, diff)
			}
		}
	})
}

// TestKeys: a missing key and a wrong one are answered alike, whatever is asked; each of several keys is right.
func TestKeys(t *testing.T) {
	t.Parallel()
	onEachSystem(t, true, nil, func(s system) {
		t := s.t
		good := `{"to": "ada@shop.example", "subject": "Hello", "body": "Hello."}`
		for _, path := range []string{"/send", "/send_async"} {
			missing := s.ask(t, http.MethodPost, path, "", good)
			for _, wrong := range []string{"wrong", key + "x", key + "," + key2} {
				got := s.ask(t, http.MethodPost, path, wrong, good)
				if got.status != http.StatusUnauthorized || string(got.body) != string(missing.body) {
					t.Errorf("%s with the key %q: got %d %s, want %d %s", path, wrong, got.status, got.body, http.StatusUnauthorized, missing.body)
				}
			}
		}
		if got := s.mails(t); len(got) > 0 {
			t.Errorf("mails were sent: %v", got)
		}
		for _, right := range []string{key, key2} {
			if got := s.ask(t, http.MethodPost, "/send", right, good); got.status != http.StatusOK {
				t.Errorf("with the key %q: %d %s", right, got.status, got.body)
			}
		}
	})
}

func TestUnfit(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		body string
		loc  []any // the beginning of the way to one of the problems
	}{
		"no JSON":            {`{"to": `, []any{"body"}},
		"empty":              {``, []any{"body"}},
		"a list":             {`[]`, []any{"body"}},
		"without to":         {`{"subject": "s", "body": "b"}`, []any{"body", "to"}},
		"without subject":    {`{"to": "ada@shop.example", "body": "b"}`, []any{"body", "subject"}},
		"without body":       {`{"to": "ada@shop.example", "subject": "s"}`, []any{"body", "body"}},
		"to is an object":    {`{"to": {}, "subject": "s", "body": "b"}`, []any{"body", "to"}},
		"subject is null":    {`{"to": "ada@shop.example", "subject": null, "body": "b"}`, []any{"body", "subject"}},
		"body is a list":     {`{"to": "ada@shop.example", "subject": "s", "body": []}`, []any{"body", "body"}},
		"an entry of to":     {`{"to": ["ada@shop.example", {}], "subject": "s", "body": "b"}`, []any{"body", "to"}},
		"type is an object":  {`{"to": "ada@shop.example", "subject": "s", "body": "b", "message_type": {}}`, []any{"body", "message_type"}},
		"content type, list": {`{"to": "ada@shop.example", "subject": "s", "body": "b", "content_type": []}`, []any{"body", "content_type"}},
	}
	onEachSystem(t, true, nil, func(s system) {
		t := s.t
		for name, c := range cases {
			for _, path := range []string{"/send", "/send_async"} {
				got := s.ask(t, http.MethodPost, path, key, c.body)
				if got.status != http.StatusUnprocessableEntity || got.contentType != "application/json" {
					t.Errorf("%s, %s: got %d %s %s, want 422", path, name, got.status, got.contentType, got.body)
					continue
				}
				checkDetail(t, path+", "+name, got.body, c.loc)
			}
		}
		if got := s.mails(t); len(got) > 0 {
			t.Errorf("mails were sent: %v", got)
		}
	})
}

// checkDetail wants FastAPI's form, and a problem at the place.
func checkDetail(t *testing.T, name string, body []byte, loc []any) {
	t.Helper()
	var got struct {
		Detail []problem `json:"detail"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Errorf("%s: %v: %s", name, err, body)
		return
	}
	found := false
	for _, p := range got.Detail {
		if len(p.Loc) == 0 || p.Msg == "" || p.Type == "" {
			t.Errorf("%s: a problem lacks loc, msg or type: %s", name, body)
		}
		found = found || len(p.Loc) >= len(loc) && cmp.Equal(p.Loc[:len(loc)], loc)
	}
	if !found {
		t.Errorf("%s: no problem at %v: %s", name, loc, body)
	}
}

func TestOversized(t *testing.T) {
	t.Parallel()
	body := `{"to": "ada@shop.example", "subject": "s", "body": "` + strings.Repeat("x", 9<<20) + `"}`
	onEachSystem(t, true, nil, func(s system) {
		t := s.t
		for _, path := range []string{"/send", "/send_async"} {
			if got := s.ask(t, http.MethodPost, path, key, body); got.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: got %d, want 413", path, got.status)
			}
		}
	})
}

// mailCases are requests and the mails that they make.
var mailCases = []struct {
	name   string
	fields map[string]any
	want   []arrived
}{
	{
		"text",
		map[string]any{"to": "a1@shop.example", "subject": "Hello", "body": "Two lines,\nof text."},
		[]arrived{mailTo("a1@shop.example", "Hello", "text/plain", "Two lines,\nof text.")},
	},
	{
		"looks like HTML",
		map[string]any{"to": "a2@shop.example", "subject": "Hello", "body": "<p>Hello, <b>Ada</b>.</p>"},
		[]arrived{mailTo("a2@shop.example", "Hello", "text/html", "<p>Hello, <b>Ada</b>.</p>")},
	},
	{
		"HTML that is called text",
		map[string]any{"to": "a3@shop.example", "subject": "Code", "body": "<p>is a paragraph</p>", "content_type": "text/plain"},
		[]arrived{mailTo("a3@shop.example", "Code", "text/plain", "<p>is a paragraph</p>")},
	},
	{
		"text that is called HTML",
		map[string]any{"to": "a4@shop.example", "subject": "Plain", "body": "Hello.", "content_type": "text/html"},
		[]arrived{mailTo("a4@shop.example", "Plain", "text/html", "Hello.")},
	},
	{
		"characters",
		map[string]any{"to": "a5@shop.example", "subject": "¡Cañón, señor! 你好", "body": "¿Qué tal? 你好 – €\n.\n..dots"},
		[]arrived{mailTo("a5@shop.example", "¡Cañón, señor! 你好", "text/plain", "¿Qué tal? 你好 – €\n.\n..dots")},
	},
	{
		"a category",
		map[string]any{"to": "a6@shop.example", "subject": "Reset", "body": "Code: 1", "message_type": "password_reset"},
		[]arrived{mailTo("a6@shop.example", "Reset", "text/plain", "Code: 1")},
	},
	{
		"null where nothing is said",
		map[string]any{"to": "a7@shop.example", "subject": "Null", "body": "b", "message_type": nil, "content_type": nil},
		[]arrived{mailTo("a7@shop.example", "Null", "text/plain", "b")},
	},
	{
		"a list of one",
		map[string]any{"to": []string{"a8@shop.example"}, "subject": "List", "body": "b"},
		[]arrived{mailTo("a8@shop.example", "List", "text/plain", "b")},
	},
	{
		"a list: one mail each",
		map[string]any{"to": []string{"b1@shop.example", "b2@shop.example", "b3@shop.example"}, "subject": "All", "body": "b"},
		[]arrived{
			mailTo("b1@shop.example", "All", "text/plain", "b"), mailTo("b2@shop.example", "All", "text/plain", "b"),
			mailTo("b3@shop.example", "All", "text/plain", "b"),
		},
	},
	{
		"a field that nobody knows",
		map[string]any{"to": "c1@shop.example", "subject": "More", "body": "b", "tenant": 7},
		[]arrived{mailTo("c1@shop.example", "More", "text/plain", "b")},
	},
}

func mailTo(address, subject, contentType, body string) arrived {
	return arrived{[]string{address}, sender, address, subject, contentType, body}
}

func wantedMails() (all []arrived) {
	for _, c := range mailCases {
		all = append(all, c.want...)
	}
	return all
}

// TestSend: the mails are at the relay when the answer comes.
func TestSend(t *testing.T) {
	t.Parallel()
	onEachSystem(t, true, nil, func(s system) {
		t := s.t
		for _, c := range mailCases {
			s.post(t, "/send", c.fields, http.StatusOK)
		}
		if diff := cmp.Diff(wantedMails(), s.mails(t)); diff != "" {
			t.Errorf("mails (-want +got):\n%s", diff)
		}
	})
}

func TestSendAsync(t *testing.T) {
	t.Parallel()
	onEachSystem(t, true, nil, func(s system) {
		t := s.t
		for _, c := range mailCases {
			s.post(t, "/send_async", c.fields, http.StatusAccepted)
		}
		s.await(t, len(wantedMails()))
		if diff := cmp.Diff(wantedMails(), s.mails(t)); diff != "" {
			t.Errorf("mails (-want +got):\n%s", diff)
		}
	})
}

// TestRefused: what the relay refuses for good fails, what it puts off is tried again.
func TestRefused(t *testing.T) {
	t.Parallel()
	onEachSystem(t, true, nil, func(s system) {
		t := s.t
		mail := func(to any) map[string]any { return map[string]any{"to": to, "subject": "Hello", "body": "Hello."} }
		s.post(t, "/send", mail("nobody@bounce.example"), http.StatusInternalServerError)
		s.post(t, "/send", mail([]string{"a@bounce.example", "b@bounce.example"}), http.StatusInternalServerError)
		s.post(t, "/send", mail("grey@later.example"), http.StatusOK)
		s.post(t, "/send_async", mail("nobody@bounce.example"), http.StatusAccepted)
		want := []arrived{mailTo("grey@later.example", "Hello", "text/plain", "Hello.")}
		if diff := cmp.Diff(want, s.mails(t)); diff != "" {
			t.Errorf("mails (-want +got):\n%s", diff)
		}
	})
}

// TestQueueFull: at QUEUE_MAXSIZE mails that wait, more are refused.
func TestQueueFull(t *testing.T) {
	t.Parallel()
	onEachSystem(t, false, harness.Env{"QUEUE_MAXSIZE": "2"}, func(s system) {
		t := s.t
		body := `{"to": "ada@shop.example", "subject": "s", "body": "b"}`
		accepted := 0
		harness.Eventually(t, "the queue is full", func() bool {
			got := s.ask(t, http.MethodPost, "/send_async", key, body)
			if got.status == http.StatusAccepted {
				accepted++
			}
			return got.status == http.StatusServiceUnavailable
		})
		if accepted < 2 {
			t.Errorf("%d mails were accepted, want at least 2", accepted)
		}
		s.post(t, "/send_async", map[string]any{"to": "ada@shop.example", "subject": "s", "body": "b"}, http.StatusServiceUnavailable)
	})
}
