package contract

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jhillyerd/enmime/v2"

	"github.com/cartero-mail/cartero/test/harness"
)

// client is a program that calls a mail service.
type client struct{ url string }

// answer is what a call was answered.
type answer struct {
	status      int
	contentType string
	body        []byte
}

// sendResponse is the SendResponse of the contract. More fields are nobody's business.
type sendResponse struct {
	OK    *bool   `json:"ok"`
	Error *string `json:"error"`
}

// problem is one of the problems of a 422.
type problem struct {
	Loc  []any  `json:"loc"`
	Msg  string `json:"msg"`
	Type string `json:"type"`
}

var http1 = &http.Client{Timeout: time.Minute}

// ask makes a call; an empty key is not sent.
func (c client) ask(t *testing.T, method, path, apiKey, body string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if apiKey != "" {
		request.Header.Set("X-API-Key", apiKey)
	}
	response, err := http1.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	contentType, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil {
		t.Fatalf("%s %s: Content-Type: %v", method, path, err)
	}
	return answer{response.StatusCode, contentType, text}
}

// post makes a call with a body of fields and checks status, content type and the members of a SendResponse.
func (c client) post(t *testing.T, path string, fields map[string]any, wantStatus int) sendResponse {
	t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	got := c.ask(t, http.MethodPost, path, key, string(body))
	var response sendResponse
	if err := json.Unmarshal(got.body, &response); err != nil {
		t.Fatalf("%s: %v: %s", path, err, got.body)
	}
	success := wantStatus < 300
	switch {
	case got.status != wantStatus || got.contentType != "application/json":
		t.Errorf("%s: got %d %s, want %d: %s", path, got.status, got.contentType, wantStatus, got.body)
	case response.OK == nil || *response.OK != success:
		t.Errorf("%s: want ok to be %v: %s", path, success, got.body)
	case success && response.Error != nil:
		t.Errorf("%s: an error with a success: %s", path, got.body)
	case !success && (response.Error == nil || *response.Error == ""):
		t.Errorf("%s: a failure without an error: %s", path, got.body)
	}
	return response
}

// arrived is what counts of a mail.
type arrived struct {
	Envelope    []string // the recipients told to the relay
	From, To    string
	Subject     string
	ContentType string
	Body        string
}

// mails returns what has arrived at the relay, in the order of the recipients.
func (s system) mails(t *testing.T) []arrived {
	t.Helper()
	var all []arrived
	for _, message := range s.relay.Messages() {
		raw, err := s.relay.Raw(message.ID)
		if err != nil {
			t.Fatal(err)
		}
		mail, err := enmime.ReadEnvelope(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		m := arrived{
			Envelope: message.Recipients, From: bare(mail.GetHeader("From")), To: bare(mail.GetHeader("To")),
			Subject: mail.GetHeader("Subject"), ContentType: "text/plain", Body: mail.Text,
		}
		if mail.HTML != "" {
			m.ContentType, m.Body = "text/html", mail.HTML
		}
		m.Body = strings.TrimRight(strings.ReplaceAll(m.Body, "\r\n", "\n"), "\n")
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b arrived) int { return slices.Compare(a.Envelope, b.Envelope) })
	return all
}

// bare is an address without angle brackets.
func bare(address string) string { return strings.Trim(address, "<>") }

// await waits for mails that are sent after their call was answered.
func (s system) await(t *testing.T, n int) {
	t.Helper()
	harness.Eventually(t, "the mails have arrived", func() bool { return s.relay.Count() >= n })
}
