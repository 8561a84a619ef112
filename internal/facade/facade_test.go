package facade_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/submit"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

func TestHealthIsExact(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	want := reply{http.StatusOK, headers(), `{"status": "ok"}`}
	delete(want.Header, "Cache-Control")
	if diff := cmp.Diff(want, f.do(httptest.NewRequest(http.MethodGet, "/health", nil))); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *facade.Config) {
		cfg.Checks = []telemetry.Check{
			{Name: "database", Probe: func(context.Context) error { return nil }},
			{Name: "queue", Probe: func(context.Context) error { return errAway }},
		}
	})
	got := []reply{f.do(httptest.NewRequest(http.MethodGet, "/livez", nil)), f.do(httptest.NewRequest(http.MethodGet, "/readyz", nil))}
	want := []reply{
		{http.StatusOK, headers(), `{"status":"ok"}`},
		{http.StatusServiceUnavailable, headers("X-Request-Id", "id-2"), `{"status":"unavailable","failing":["queue"]}`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	refused := problemReply(http.StatusUnauthorized, "missing or wrong X-API-Key", "Www-Authenticate", "APIKey")
	missing := problemReply(http.StatusNotFound, "there is no such job")
	tests := []struct {
		name string
		keys []string
		want reply
	}{
		{"none", nil, refused},
		{"empty", []string{""}, refused},
		{"wrong", []string{"wrong"}, refused},
		{"a part", []string{key[:len(key)-1]}, refused},
		{"both at once", []string{"another-key," + key}, refused},
		{"the first", []string{"another-key"}, missing},
		{"the second", []string{key}, missing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/jobs/x", nil)
			r.Header["X-Api-Key"] = tt.keys
			if diff := cmp.Diff(tt.want, newFixture(t).do(r)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnknownRoutes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method, path string
		want         reply
	}{
		{http.MethodGet, "/", problemReply(http.StatusNotFound, "there is no such page")},
		{http.MethodGet, "/send-campaign", problemReply(http.StatusMethodNotAllowed, "use the method POST", "Allow", "POST")},
		{http.MethodDelete, "/jobs/x", problemReply(http.StatusMethodNotAllowed, "use the method GET", "Allow", "GET")},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, newFixture(t).do(httptest.NewRequest(tt.method, tt.path, nil))); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tt.method, tt.path, diff)
		}
	}
}

func TestJob(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if got := f.send(small); got.Status != http.StatusAccepted {
		t.Fatalf("answer %d: %s", got.Status, got.Body)
	}
	ask := func() reply {
		r := get("/jobs/" + job(0))
		r.Header.Set("X-Request-Id", "mine")
		return f.do(r)
	}
	want := reply{http.StatusOK, headers("X-Request-Id", "mine"), `{"ok":true,"id":"` + job(0) + `","status":"PENDING","total":3,` +
		`"sent":0,"failed":0,"pending":3,"states":{"pending":3,"active":0,"deferred":0,"accepted":0,"bounced":0,"failed":0,` +
		`"suppressed":0,"cancelled":0,"inDoubt":0},"createdAt":"2026-03-01T12:00:00.000Z","startedAt":null,"completedAt":null}`}
	if diff := cmp.Diff(want, ask()); diff != "" {
		t.Errorf("at first (-want +got):\n%s", diff)
	}

	f.work(map[int]campaign.State{0: campaign.StateAccepted, 1: campaign.StateBounced})
	want.Body = `{"ok":true,"id":"` + job(0) + `","status":"PROCESSING","total":3,` +
		`"sent":1,"failed":1,"pending":1,"states":{"pending":0,"active":1,"deferred":0,"accepted":1,"bounced":1,"failed":0,` +
		`"suppressed":0,"cancelled":0,"inDoubt":0},"createdAt":"2026-03-01T12:00:00.000Z",` +
		`"startedAt":"2026-03-01T12:00:01.000Z","completedAt":null}`
	if diff := cmp.Diff(want, ask()); diff != "" {
		t.Errorf("half-way (-want +got):\n%s", diff)
	}
}

// work claims the first job's recipients and records these states, by position.
func (f *fixture) work(states map[int]campaign.State) {
	f.t.Helper()
	now := at.Add(time.Second)
	if err := f.store.StartJob(f.t.Context(), job(0), now); err != nil {
		f.t.Fatal(err)
	}
	claimed, err := f.store.Claim(f.t.Context(), campaign.Claim{JobID: job(0), Token: "t", Limit: 10, Now: now, LeaseUntil: now.Add(time.Minute)})
	if err != nil {
		f.t.Fatal(err)
	}
	ids := make([]string, len(claimed))
	for i, c := range claimed {
		ids[i] = c.ID
	}
	if _, err := f.store.Announce(f.t.Context(), "t", ids, now); err != nil {
		f.t.Fatal(err)
	}
	var results []campaign.Result
	for position, state := range states {
		results = append(results, campaign.Result{RecipientID: ids[position], State: state, CountAttempt: true, At: now})
	}
	if _, err := f.store.Record(f.t.Context(), "t", results); err != nil {
		f.t.Fatal(err)
	}
}

func TestJobUnknown(t *testing.T) {
	t.Parallel()
	want := problemReply(http.StatusNotFound, "there is no such job")
	for _, id := range []string{"0190d1c5-7f7e-7000-8000-000000000000", "%27%20OR%201=1--", strings.Repeat("x", 5000)} {
		if diff := cmp.Diff(want, newFixture(t).do(get("/jobs/"+id))); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
	}
}

// jobsAway is a database that is away.
type jobsAway struct{}

func (jobsAway) JobReport(context.Context, string) (campaign.JobReport, error) {
	return campaign.JobReport{}, errAway
}

func (jobsAway) RecipientReports(context.Context, string, string, int) ([]campaign.RecipientReport, error) {
	return nil, errAway
}

func TestJobWithoutDatabase(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *facade.Config) { cfg.Jobs = jobsAway{} })
	want := reply{http.StatusServiceUnavailable, headers("Retry-After", "5"), `{"ok":false,"error":"the database is not available: try again later"}`}
	if diff := cmp.Diff(want, f.do(get("/jobs/x"))); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestRequestsInFlightAreLimited(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *facade.Config) { cfg.MaxInFlight = 1 })
	entered, leave := make(chan struct{}), make(chan struct{})
	f.ledger.beforeOpen = func() {
		close(entered)
		<-leave
	}
	first := make(chan int)
	go func() {
		recorder := httptest.NewRecorder()
		f.handler.ServeHTTP(recorder, post(strings.NewReader(small)))
		first <- recorder.Code
	}()
	<-entered
	want := reply{http.StatusServiceUnavailable, headers("Retry-After", "5", "X-Request-Id", "id-3"), `{"ok":false,"error":"the server is busy: try again"}`}
	if diff := cmp.Diff(want, f.do(get("/jobs/x"))); diff != "" {
		t.Errorf("the second (-want +got):\n%s", diff)
	}
	if got := f.do(httptest.NewRequest(http.MethodGet, "/health", nil)); got.Status != http.StatusOK {
		t.Errorf("health while busy: %d", got.Status)
	}
	close(leave)
	if got := <-first; got != http.StatusAccepted {
		t.Errorf("the first: %d", got)
	}
}

// TestLogAndMetricsTellNobody looks for what must not leave the process, with a logger that masks nothing.
func TestLogAndMetricsTellNobody(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	f := newFixture(t, func(cfg *facade.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.Metrics = telemetry.NewHTTPMetrics(registry)
	})
	f.bell.err = errAway
	f.send(`{"subject":"canary-subject","body":"canary-body","recipients":["canary@example.com","canary"],"from":"canary@example.com"}`)
	f.send(`{"subject":1,"body":"canary-body","recipients":["canary@example.com",{"canary":1}]}`)
	f.do(get("/jobs/canary@example.com?canary=1"))
	r := get("/canary")
	r.Header.Set("X-API-Key", "canary")
	r.Header.Set("X-Request-Id", "canary@example.com")
	f.do(r)
	if strings.Contains(log.String(), "canary") || strings.Contains(log.String(), key) {
		t.Errorf("the log tells:\n%s", &log)
	}
	want := `
# HELP cartero_http_recipients_accepted_total Recipients accepted for sending.
# TYPE cartero_http_recipients_accepted_total counter
cartero_http_recipients_accepted_total 1
# HELP cartero_http_requests_in_flight Requests being worked on.
# TYPE cartero_http_requests_in_flight gauge
cartero_http_requests_in_flight 0
# HELP cartero_http_requests_total Requests by route and status code.
# TYPE cartero_http_requests_total counter
cartero_http_requests_total{code="202",route="POST /send-campaign"} 1
cartero_http_requests_total{code="404",route="/"} 1
cartero_http_requests_total{code="404",route="GET /jobs/{id}"} 1
cartero_http_requests_total{code="422",route="POST /send-campaign"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "cartero_http_recipients_accepted_total",
		"cartero_http_requests_total", "cartero_http_requests_in_flight"); err != nil {
		t.Error(err)
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	good := facade.Config{
		Ledger: &ledger{}, Jobs: jobsAway{}, Submission: &submit.Service{}, Doorbell: &bell{}, Keys: []string{"k"},
		QueueLength: func(context.Context) (int64, error) { return 0, nil },
	}
	tests := []struct {
		name   string
		change func(*facade.Config)
		want   string
	}{
		{"nothing", func(*facade.Config) {}, ""},
		{"ledger", func(c *facade.Config) { c.Ledger = nil }, "facade: Ledger, Jobs, Submission, Doorbell and QueueLength are required"},
		{"keys", func(c *facade.Config) { c.Keys = nil }, "facade: at least one key is required"},
		{"empty key", func(c *facade.Config) { c.Keys = []string{"k", ""} }, "facade: key number 2 is empty"},
		{"negative", func(c *facade.Config) { c.MaxBody = -1 }, "facade: MaxQueue, MaxBody, MaxRecipients, MaxInFlight and JobSize must not be negative"},
	}
	for _, tt := range tests {
		cfg := good
		tt.change(&cfg)
		got := ""
		if _, err := facade.New(cfg); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: error %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- facade.Serve(ctx, listener, f.handler, time.Minute, slog.New(slog.DiscardHandler)) }()

	request := post(strings.NewReader(small))
	request.RequestURI = ""
	request.URL.Scheme, request.URL.Host = "http", listener.Addr().String()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	if response.StatusCode != http.StatusAccepted {
		t.Errorf("answer %d", response.StatusCode)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
