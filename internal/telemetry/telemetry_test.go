package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cartero-mail/cartero/internal/telemetry"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	redactor := telemetry.NewRedactor("hunter2", "hunter2-longer", "abc")
	tests := []struct{ in, want string }{
		{"nothing to hide", "nothing to hide"},
		{"550 5.1.1 <ana.lopez+news@example.com>: no such user", "550 5.1.1 <[address]>: no such user"},
		{"RCPT TO:<ana@example.com>", "RCPT TO:<[address]>"},
		{"Duplicate entry 'ana@example.com' for key", "Duplicate entry '[value]' for key"},
		{"ana@example.com,bob@example.com;eve@[127.0.0.1]", "[address],[address];eve@[127.0.0.1]"},
		{`"ana lópez"@example.com and josé@correo.españa`, "[address] and [address]"},
		{"https://x.test/unsubscribe?e=ana%40example.com&l=1", "https://x.test/unsubscribe?e=[address]&l=1"},
		{"dial mysql://root:p%40ss@db:3306/worker_db: refused", "dial mysql://[redacted]@db:3306/worker_db: refused"},
		{"redis://:p@ss@redis:6379", "redis://[redacted]@redis:6379"},
		{"open root:pw@tcp(127.0.0.1:3306)/db", "open [redacted]@tcp(127.0.0.1:3306)/db"},
		{"/root/go/pkg/mod/github.com/wneessen/go-mail@v0.8.1/client.go:12", "/root/go/pkg/mod/github.com/wneessen/go-mail@v0.8.1/client.go:12"},
		{"password hunter2-longer, then hunter2", "password [redacted], then [redacted]"},
		{"abc is too short to be searched for", "abc is too short to be searched for"},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, redactor.Redact(tt.in)); diff != "" {
			t.Errorf("Redact(%q) (-want +got):\n%s", tt.in, diff)
		}
	}
}

// stringer and structure are attributes of other types.
type stringer struct{ address string }

func (s stringer) String() string { return "mailbox of " + s.address }

type structure struct {
	Name    string
	Address string
}

func TestLoggerMasks(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := telemetry.NewLogger(&out, slog.LevelInfo, true, telemetry.NewRedactor("s3cret-key"))
	const address = "ana@example.com"
	logger = logger.With("with", address).WithGroup("group")
	logger.Info("Sent to "+address,
		"error", fmt.Errorf("refusing: %w", errors.New("550 <"+address+"> unknown")),
		"text", "key s3cret-key", "stringer", stringer{address}, "structure", structure{"Ana", address},
		"plain", structure{"Ana", "none"}, "list", []string{address, "x"}, "nil", nil, "count", 3, "took", time.Second,
		"password", "whatever", "API_KEY", 7, slog.Group("inner", "to", address))
	telemetry.Logr(logger).WithName("kube").V(1).Info("Not at this level", "to", address)
	telemetry.Logr(logger).Error(errors.New("for "+address), "Through logr", "to", address)

	got := out.String()
	for _, leak := range []string{address, "s3cret-key", "whatever"} {
		if strings.Contains(got, leak) {
			t.Errorf("the log holds %q:\n%s", leak, got)
		}
	}
	want := `"level":"INFO","msg":"Sent to [address]","with":"[address]","group":{` +
		`"error":"refusing: 550 <[address]> unknown","text":"key [redacted]","stringer":"mailbox of [address]",` +
		`"structure":"{\"Name\":\"Ana\",\"Address\":\"[address]\"}","plain":{"Name":"Ana","Address":"none"},` +
		`"list":"[\"[address]\",\"x\"]","nil":null,"count":3,"took":1000000000,` +
		`"password":"[redacted]","API_KEY":"[redacted]","inner":{"to":"[address]"}}}`
	first, second, _ := strings.Cut(got, "\n")
	if _, rest, _ := strings.Cut(first, ","); rest != want {
		t.Errorf("first line (-want +got):\n%s", cmp.Diff(want, rest))
	}
	if !strings.Contains(second, `"msg":"Through logr"`) || !strings.Contains(second, `"err":"for [address]"`) || strings.Contains(second, "Not at this level") {
		t.Errorf("second line: %s", second)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	away := map[string]error{}
	check := func(name string) telemetry.Check {
		return telemetry.Check{Name: name, Probe: func(context.Context) error { return away[name] }}
	}
	health := telemetry.NewHealth(telemetry.NewLogger(&out, slog.LevelInfo, false, nil), check("database"), check("queue"))
	get := func(path string) string {
		recorder := httptest.NewRecorder()
		health.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
		return fmt.Sprint(recorder.Code, " ", strings.TrimSpace(recorder.Body.String()))
	}
	ask := func() []string { return []string{get("/livez"), get("/readyz"), get("/readyz")} }

	const ok = `200 {"status":"ok"}`
	if diff := cmp.Diff([]string{ok, ok, ok}, ask()); diff != "" {
		t.Errorf("all there (-want +got):\n%s", diff)
	}
	away["database"] = errors.New("dial tcp db.internal:3306: refused")
	down := `503 {"status":"unavailable","failing":["database"]}`
	if diff := cmp.Diff([]string{ok, down, down}, ask()); diff != "" {
		t.Errorf("database away (-want +got):\n%s", diff)
	}
	away["queue"] = errors.New("refused")
	down = `503 {"status":"unavailable","failing":["database","queue"]}`
	if diff := cmp.Diff([]string{ok, down, down}, ask()); diff != "" {
		t.Errorf("both away (-want +got):\n%s", diff)
	}
	clear(away)
	if diff := cmp.Diff([]string{ok, ok, ok}, ask()); diff != "" {
		t.Errorf("back (-want +got):\n%s", diff)
	}
	if got := strings.Count(out.String(), "\n"); got != 4 {
		t.Errorf("%d lines were logged, want one per change:\n%s", got, &out)
	}
}

func TestServeListenerFinishesRequestsUnderWay(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	began, finish := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-finish
		_, _ = io.WriteString(w, "done")
	})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- telemetry.ServeListener(ctx, listener, handler, telemetry.Limits{}, slog.New(slog.DiscardHandler))
	}()

	answered := make(chan string, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get("http://" + listener.Addr().String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		answered <- string(body)
	}()
	<-began
	stop()
	close(finish)
	if got := <-answered; got != "done" {
		t.Errorf("answer %q, want done", got)
	}
	if err := <-served; err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestServeFailsOnATakenAddress(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = telemetry.Serve(t.Context(), listener.Addr().String(), http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "listening on "+listener.Addr().String()) {
		t.Errorf("error %v", err)
	}
}

func TestServeNothing(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := telemetry.Serve(ctx, telemetry.Disabled, nil, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	worker, outbox, http := telemetry.NewWorkerMetrics(registry), telemetry.NewOutboxMetrics(registry), telemetry.NewHTTPMetrics(registry)
	worker.Mail("sent", "")
	worker.Mail("permanent", "BadMailbox")
	worker.JobsActive(2)
	worker.JobsActive(-1)
	worker.Recovered(3, 1)
	worker.Throttled(1500 * time.Millisecond)
	worker.DomainLimited(2 * time.Second)
	worker.SetAside(9)
	worker.FailurePolicy("PauseCampaign")
	worker.Held("SenderRefused")
	worker.Aborted(true)
	worker.Aborted(false)
	outbox.Rung(7)
	outbox.Swept(nil)
	outbox.Swept(errors.New("away"))
	http.Request("GET /jobs/{id}", 404, time.Millisecond)
	http.Accepted(12)
	want := `
# HELP cartero_campaigns_aborted_total Runs of jobs that found the shares of spec.abortPolicy exceeded, by the policy's action.
# TYPE cartero_campaigns_aborted_total counter
cartero_campaigns_aborted_total{action="Fail"} 1
cartero_campaigns_aborted_total{action="Pause"} 1
# HELP cartero_campaigns_held_total Runs of jobs that had their campaign held, by reason.
# TYPE cartero_campaigns_held_total counter
cartero_campaigns_held_total{reason="SenderRefused"} 1
# HELP cartero_domain_limited_seconds_total Time that parts of runs waited for SMTP_DOMAIN_LIMITS, summed over them, while other mails overtook.
# TYPE cartero_domain_limited_seconds_total counter
cartero_domain_limited_seconds_total 2
# HELP cartero_failure_policy_matches_total Refused mails that a rule of spec.failurePolicy decided on, by the rule's action.
# TYPE cartero_failure_policy_matches_total counter
cartero_failure_policy_matches_total{action="PauseCampaign"} 1
# HELP cartero_http_recipients_accepted_total Recipients accepted for sending.
# TYPE cartero_http_recipients_accepted_total counter
cartero_http_recipients_accepted_total 12
# HELP cartero_http_requests_total Requests by route and status code.
# TYPE cartero_http_requests_total counter
cartero_http_requests_total{code="404",route="GET /jobs/{id}"} 1
# HELP cartero_jobs_active Jobs being worked off.
# TYPE cartero_jobs_active gauge
cartero_jobs_active 1
# HELP cartero_mails_total SMTP transactions by outcome and by category of failure.
# TYPE cartero_mails_total counter
cartero_mails_total{category="",outcome="sent"} 1
cartero_mails_total{category="BadMailbox",outcome="permanent"} 1
# HELP cartero_outbox_rings_total Jobs put into the queue.
# TYPE cartero_outbox_rings_total counter
cartero_outbox_rings_total 7
# HELP cartero_outbox_sweeps_total Searches for jobs that belong into the queue, by result.
# TYPE cartero_outbox_sweeps_total counter
cartero_outbox_sweeps_total{result="error"} 1
cartero_outbox_sweeps_total{result="ok"} 1
# HELP cartero_recovered_recipients_total Recipients whose worker was lost, by what became of them.
# TYPE cartero_recovered_recipients_total counter
cartero_recovered_recipients_total{result="inDoubt"} 1
cartero_recovered_recipients_total{result="released"} 3
# HELP cartero_recipients_set_aside_total Recipients put off, without an attempt, because SMTP_DOMAIN_LIMITS is used up for a while.
# TYPE cartero_recipients_set_aside_total counter
cartero_recipients_set_aside_total 9
# HELP cartero_throttled_seconds_total Time that runs of jobs waited for the rate of their campaign, spec.throttle.rate, summed over the runs.
# TYPE cartero_throttled_seconds_total counter
cartero_throttled_seconds_total 1.5
`
	err := testutil.GatherAndCompare(registry, strings.NewReader(want), "cartero_http_recipients_accepted_total",
		"cartero_http_requests_total", "cartero_jobs_active", "cartero_mails_total", "cartero_outbox_rings_total",
		"cartero_outbox_sweeps_total", "cartero_recovered_recipients_total", "cartero_campaigns_aborted_total", "cartero_campaigns_held_total",
		"cartero_failure_policy_matches_total", "cartero_throttled_seconds_total", "cartero_domain_limited_seconds_total",
		"cartero_recipients_set_aside_total")
	if err != nil {
		t.Error(err)
	}
}

func TestNilMetricsCountNothing(t *testing.T) {
	t.Parallel()
	var worker *telemetry.WorkerMetrics
	var outbox *telemetry.OutboxMetrics
	var http *telemetry.HTTPMetrics
	worker.Mail("sent", "")
	worker.Phase("dot", time.Second)
	worker.JobsActive(1)
	worker.Recovered(1, 1)
	worker.Throttled(time.Second)
	worker.DomainLimited(time.Second)
	worker.SetAside(1)
	worker.FailurePolicy("FailRecipient")
	worker.Held("SenderRefused")
	worker.Aborted(true)
	outbox.Rung(1)
	outbox.Swept(nil)
	http.Request("/", 200, time.Second)
	http.InFlight(1)
	http.Accepted(1)
}

// TestRelayMetrics: the pools of a process are added up; without one there is no series.
func TestRelayMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := telemetry.NewRelayMetrics(registry)
	if n, err := testutil.GatherAndCount(registry); n != 0 || err != nil {
		t.Errorf("%d series of no pool, %v", n, err)
	}
	m.Add(func() telemetry.RelayStats {
		return telemetry.RelayStats{Busy: 2, Idle: 1, Dialing: 1, Limit: 5, Waiting: 3, Sent: 10, Followed: 4, Dials: 6, Cuts: 1, Disorders: 2}
	})
	m.Add(func() telemetry.RelayStats { return telemetry.RelayStats{Busy: 1, Limit: 10, Sent: 1, Dials: 1} })
	want := `
# HELP cartero_smtp_connections Connections to the relay by state.
# TYPE cartero_smtp_connections gauge
cartero_smtp_connections{state="busy"} 3
cartero_smtp_connections{state="dialing"} 1
cartero_smtp_connections{state="idle"} 1
# HELP cartero_smtp_connections_cut_total Times that the number of connections was lowered because the relay complained.
# TYPE cartero_smtp_connections_cut_total counter
cartero_smtp_connections_cut_total 1
# HELP cartero_smtp_connections_limit Connections that there may be now: fewer than SMTP_MAX_CONNECTIONS while the relay asks for it.
# TYPE cartero_smtp_connections_limit gauge
cartero_smtp_connections_limit 15
# HELP cartero_smtp_dials_total Connections that were made.
# TYPE cartero_smtp_dials_total counter
cartero_smtp_dials_total 7
# HELP cartero_smtp_disorders_total Connections dropped because the relay's replies did not fit the commands.
# TYPE cartero_smtp_disorders_total counter
cartero_smtp_disorders_total 2
# HELP cartero_smtp_mails_total Mails that the relay accepted, by what they waited for: a round trip of their own, or one that they shared with the mail before them.
# TYPE cartero_smtp_mails_total counter
cartero_smtp_mails_total{round="own"} 7
cartero_smtp_mails_total{round="shared"} 4
# HELP cartero_smtp_waiting_mails Mails that wait for a connection.
# TYPE cartero_smtp_waiting_mails gauge
cartero_smtp_waiting_mails 3
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestMetricsHandler(t *testing.T) {
	t.Parallel()
	recorder := httptest.NewRecorder()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	handler := telemetry.MetricsHandler(registry)
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if recorder.Code != http.StatusOK || !strings.Contains(recorder.Body.String(), "go_goroutines") {
		t.Errorf("answer %d:\n%s", recorder.Code, recorder.Body)
	}
}

// A gauge that is read at the scrape says what its source says then, and nothing while that does not answer.
func TestQueueDepthIsReadAtTheScrape(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	depth, away := 3.0, error(nil)
	telemetry.NewQueueMetrics(registry, func(context.Context) (map[string]float64, error) {
		return map[string]float64{"waiting": depth}, away
	})
	for _, want := range []string{"3", "5", ""} {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(families) == 1 {
			got = fmt.Sprint(families[0].GetMetric()[0].GetGauge().GetValue())
		}
		if got != want {
			t.Errorf("the queue has %q waiting jobs, want %q", got, want)
		}
		if depth = 5; want == "5" {
			away = errors.New("connection refused")
		}
	}
}
