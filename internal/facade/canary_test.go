package facade_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
	"github.com/cartero-mail/cartero/internal/submit"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// What must not leave the process but in the mail, the database and the answer to who sent it. The key is another.
const (
	canaryKey   = "canary-key-3f8a"
	canaryMail  = "canary.person@receiver.example"
	canaryLocal = "canary.person"
)

// raw is a logger that masks nothing, telling everything.
func raw(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// masking is the logger of the commands, at its most talkative.
func masking(w io.Writer) *slog.Logger {
	return telemetry.NewLogger(w, slog.LevelDebug, true, telemetry.NewRedactor(canaryKey))
}

// canaries is a request with one in every member.
func canaries(to string) string {
	return fmt.Sprintf(`{"to":%q,"recipients":[%[1]q,{"email":"canary2@receiver.example","name":"canary-name","variables":{"v":"canary-value"}}],`+
		`"subject":"canary-subject","body":"canary-body","message_type":"canary-type","from":"canary-sender <canary-from@example.com>"}`, to)
}

// TestNobodyIsTold (S20): what is put into any call, right or wrong, and what a relay quotes of it, is in no log line, no
// label and no entry of the queue.
func TestNobodyIsTold(t *testing.T) {
	t.Parallel()
	quote := func(code string) smtptest.Reaction {
		return smtptest.Reaction{Reply: code + " <" + canaryMail + "> " + canaryLocal + " is unknown here"}
	}
	w := newWire(t, smtptest.Script{For: map[string]map[smtptest.Step][]smtptest.Reaction{
		canaryMail: {smtptest.RCPT: {{}, quote("550 5.1.1")}, smtptest.Dot: {{}, quote("554 5.7.1")}},
	}}, raw, func(cfg *facade.Config) { cfg.Keys = []string{canaryKey} })
	with := func(method, path, body string, header ...string) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-API-Key", canaryKey)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return w.do(r)
	}
	var answers strings.Builder
	for _, path := range []string{"/send", "/send", "/send", "/send_async", "/send-campaign"} {
		status, answer := with(http.MethodPost, path, canaries(canaryMail), "X-Request-Id", canaryMail)
		fmt.Fprintln(&answers, path, status, answer)
	}
	for _, path := range []string{"/send", "/send_async", "/send-campaign"} {
		for _, body := range []string{
			canaries("canary-no-address"), `{"canary-member":`, `"canary-text"`, `{"to":{"canary":1},"recipients":{"canary":1},"subject":["canary"],"body":1}`,
		} {
			with(http.MethodPost, path, body)
		}
		with(http.MethodPost, path, canaries(canaryMail), "Idempotency-Key", "canary-idempotency")
		with(http.MethodPost, path, canaries("canary-other@example.com"), "Idempotency-Key", "canary-idempotency")
		with(http.MethodPost, path, canaries(canaryMail), "X-API-Key", "canary-wrong-key")
		with(http.MethodPost, path, canaries(canaryMail), "Content-Encoding", "canary-encoding")
	}
	for _, path := range []string{
		"/jobs/" + canaryMail, "/jobs/canary/recipients?after=" + canaryMail, "/messages?recipient=" + canaryMail, "/messages?since=canary&after=canary",
		"/" + canaryMail + "?canary=1",
	} {
		with(http.MethodGet, path, "")
		with(http.MethodPost, path, "canary-body")
	}
	with(http.MethodPost, "/jobs/"+canaryMail+"/cancel", "")

	w.noCanary("answers of the relay as they are told", quotesOf(answers.String()))
	w.noneTold()
	if len(w.queue.rings) == 0 || len(w.bell.keys) == 0 || w.log.String() == "" {
		t.Error("nothing was queued or logged: the test shows nothing")
	}
}

// quotesOf are the errors in answers.
func quotesOf(answers string) string {
	var all strings.Builder
	for line := range strings.Lines(answers) {
		if _, text, ok := strings.Cut(line, `"error":"`); ok {
			text, _, _ = strings.Cut(text, `"`)
			fmt.Fprintln(&all, text)
		}
	}
	return all.String()
}

// TestFaultsTellNobody (S20): errors of a database that quote what they were given, and panics with it in hand. The logger is
// that of the commands.
func TestFaultsTellNobody(t *testing.T) {
	t.Parallel()
	quoting := []error{
		&mysql.MySQLError{Number: 1062, Message: "Duplicate entry 'canary-subject-" + canaryMail + "' for key 'Recipient.x'"},
		&mysql.MySQLError{Number: 1062, Message: "Duplicate entry 'canary's-subject' for key 'EmailJob.x'"},
		&mysql.MySQLError{Number: 1366, Message: "Incorrect string value: 'canary-body' for column `worker_db`.`EmailJob`.`body` at row 1"},
		&mysql.MySQLError{Number: 1292, Message: "Incorrect datetime value: 'canary-value' for column 'x' at row 1"},
		&mysql.MySQLError{Number: 1292, Message: "Truncated incorrect DOUBLE value: 'canary-value'"},
		fmt.Errorf("writing: %w", errors.Join(errors.New("dial tcp: canary-person@receiver.example"), &mysql.MySQLError{Number: 1062, Message: "Duplicate entry 'canary' for key 'x'"})),
	}
	faults := []func(){func() { panic("canary-subject and " + canaryMail) }, func() { panic(errors.New("canary-body")) }}
	for i := range len(quoting) + len(faults) {
		w := newWire(t, smtptest.Script{}, masking, func(cfg *facade.Config) {
			cfg.Keys = []string{canaryKey}
			fail := func() error {
				if i < len(quoting) {
					return quoting[i]
				}
				faults[i-len(quoting)]()
				return nil
			}
			cfg.Ledger.(*ledger).writeShard = func(func(context.Context, campaign.Shard) error, context.Context, campaign.Shard) error {
				return fail()
			}
			cfg.Submission = failing(fail)
		})
		for _, path := range []string{"/send", "/send_async", "/send-campaign"} {
			status, answer := w.post(path, canaries(canaryMail), "X-API-Key", canaryKey)
			if status != http.StatusInternalServerError {
				t.Errorf("%s: answer %d: %s", path, status, answer)
			}
			w.noCanary("the answer", strings.ReplaceAll(answer, "canary-other", ""))
		}
		w.noneTold()
	}
}

// failing is a Submission that fails.
type failing func() error

func (f failing) Send(context.Context, campaign.Submission) (s submit.Sent, err error) { return s, f() }

func (f failing) Enqueue(context.Context, campaign.Submission) (q submit.Queued, err error) {
	return q, f()
}

// noneTold looks into everything that leaves the process.
func (w *wire) noneTold() {
	w.t.Helper()
	w.noCanary("the log", w.log.String())
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		w.noCanary("the metrics", family.String())
	}
	w.noCanary("the queue", fmt.Sprintf("%+v %+v", w.queue.rings, w.bell.keys))
}

func (w *wire) noCanary(where, text string) {
	w.t.Helper()
	for line := range strings.Lines(text) {
		if strings.Contains(line, "canary") && !strings.Contains(line, "canary_test.go") || strings.Contains(line, canaryLocal) {
			w.t.Errorf("%s tells: %s", where, line)
		}
	}
}
