package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// MetricsHandler serves GET /metrics.
func MetricsHandler(gatherer prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return mux
}

// WorkerMetrics count what the worker does. No label tells a campaign, a recipient or a domain. A nil one counts
// nothing.
type WorkerMetrics struct {
	mails    *prometheus.CounterVec
	phases   *prometheus.HistogramVec
	jobs     prometheus.Gauge
	recovers *prometheus.CounterVec

	throttled prometheus.Counter
	limited   prometheus.Counter
	aside     prometheus.Counter
	rules     *prometheus.CounterVec
	holds     *prometheus.CounterVec
	aborts    *prometheus.CounterVec
}

// NewWorkerMetrics registers the worker's metrics.
func NewWorkerMetrics(registerer prometheus.Registerer) *WorkerMetrics {
	m := &WorkerMetrics{
		mails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cartero_mails_total", Help: "SMTP transactions by outcome and by category of failure.",
		}, []string{"outcome", "category"}),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cartero_phase_seconds", Help: "Time spent in a phase of delivery.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 14), // 0.5 ms to 75 s
		}, []string{"phase"}),
		jobs: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "cartero_jobs_active", Help: "Jobs being worked off.",
		}),
		recovers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cartero_recovered_recipients_total", Help: "Recipients whose worker was lost, by what became of them.",
		}, []string{"result"}),
		throttled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cartero_throttled_seconds_total",
			Help: "Time that runs of jobs waited for the rate of their campaign, spec.throttle.rate, summed over the runs.",
		}),
		limited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cartero_domain_limited_seconds_total",
			Help: "Time that parts of runs waited for SMTP_DOMAIN_LIMITS, summed over them, while other mails overtook.",
		}),
		aside: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cartero_recipients_set_aside_total",
			Help: "Recipients put off, without an attempt, because SMTP_DOMAIN_LIMITS is used up for a while.",
		}),
		rules: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cartero_failure_policy_matches_total",
			Help: "Refused mails that a rule of spec.failurePolicy decided on, by the rule's action.",
		}, []string{"action"}),
		holds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cartero_campaigns_held_total", Help: "Runs of jobs that had their campaign held, by reason.",
		}, []string{"reason"}),
		aborts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cartero_campaigns_aborted_total",
			Help: "Runs of jobs that found the shares of spec.abortPolicy exceeded, by the policy's action.",
		}, []string{"action"}),
	}
	registerer.MustRegister(m.mails, m.phases, m.jobs, m.recovers, m.throttled, m.limited, m.aside, m.rules, m.holds, m.aborts)
	return m
}

// Mail counts one transaction: outcome is a mail.Outcome, category a mail.Category constant, empty if sent.
func (m *WorkerMetrics) Mail(outcome, category string) {
	if m != nil {
		m.mails.WithLabelValues(outcome, category).Inc()
	}
}

// Phase records how long a phase took, such as "claim", "render", "connect", "dot" or "record".
func (m *WorkerMetrics) Phase(phase string, took time.Duration) {
	if m != nil {
		m.phases.WithLabelValues(phase).Observe(took.Seconds())
	}
}

// JobsActive adds to the number of jobs being worked off.
func (m *WorkerMetrics) JobsActive(delta int) {
	if m != nil {
		m.jobs.Add(float64(delta))
	}
}

// Recovered counts recipients of a lost worker: those that were given back and those put in doubt.
func (m *WorkerMetrics) Recovered(released, inDoubt int) {
	if m != nil {
		m.recovers.WithLabelValues("released").Add(float64(released))
		m.recovers.WithLabelValues("inDoubt").Add(float64(inDoubt))
	}
}

// Throttled adds the time that a run waited for its campaign's rate.
func (m *WorkerMetrics) Throttled(waited time.Duration) {
	if m != nil {
		m.throttled.Add(waited.Seconds())
	}
}

// DomainLimited adds the time that a part of a run waited for the limit of its recipients' domains.
func (m *WorkerMetrics) DomainLimited(waited time.Duration) {
	if m != nil {
		m.limited.Add(waited.Seconds())
	}
}

// SetAside counts recipients that were put off because the limit of their domains is used up for a while.
func (m *WorkerMetrics) SetAside(recipients int) {
	if m != nil {
		m.aside.Add(float64(recipients))
	}
}

// FailurePolicy counts one mail that a rule of a failure policy decided on; action is one of the API's names.
func (m *WorkerMetrics) FailurePolicy(action string) {
	if m != nil {
		m.rules.WithLabelValues(action).Inc()
	}
}

// Held counts one campaign that was held; reason is one of the API's names.
func (m *WorkerMetrics) Held(reason string) {
	if m != nil {
		m.holds.WithLabelValues(reason).Inc()
	}
}

// Aborted counts one campaign whose abort policy was exceeded: it is ended, or paused.
func (m *WorkerMetrics) Aborted(ends bool) {
	if m == nil {
		return
	}
	action := "Pause"
	if ends {
		action = "Fail"
	}
	m.aborts.WithLabelValues(action).Inc()
}

// OutboxMetrics count what the outbox puts into the queue. A nil one counts nothing.
type OutboxMetrics struct {
	rings  prometheus.Counter
	sweeps *prometheus.CounterVec
}

// NewOutboxMetrics registers the outbox's metrics.
func NewOutboxMetrics(registerer prometheus.Registerer) *OutboxMetrics {
	m := &OutboxMetrics{
		rings: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cartero_outbox_rings_total", Help: "Jobs put into the queue.",
		}),
		sweeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cartero_outbox_sweeps_total", Help: "Searches for jobs that belong into the queue, by result.",
		}, []string{"result"}),
	}
	registerer.MustRegister(m.rings, m.sweeps)
	return m
}

// Rung counts jobs put into the queue.
func (m *OutboxMetrics) Rung(jobs int) {
	if m != nil {
		m.rings.Add(float64(jobs))
	}
}

// Swept counts one search; err is how it ended.
func (m *OutboxMetrics) Swept(err error) {
	if m == nil {
		return
	}
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.sweeps.WithLabelValues(result).Inc()
}

// HTTPMetrics count what an HTTP server answers. A nil one counts nothing.
type HTTPMetrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	accepted prometheus.Counter
}

// NewHTTPMetrics registers the HTTP facade's metrics.
func NewHTTPMetrics(registerer prometheus.Registerer) *HTTPMetrics {
	m := &HTTPMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cartero_http_requests_total", Help: "Requests by route and status code.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cartero_http_request_seconds", Help: "Time from a request's header to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 13), // 1 ms to 60 s
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "cartero_http_requests_in_flight", Help: "Requests being worked on.",
		}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cartero_http_recipients_accepted_total", Help: "Recipients accepted for sending.",
		}),
	}
	registerer.MustRegister(m.requests, m.seconds, m.inFlight, m.accepted)
	return m
}

// Request counts one answered request. route is a pattern such as "GET /jobs/{id}", never a path.
func (m *HTTPMetrics) Request(route string, code int, took time.Duration) {
	if m != nil {
		m.requests.WithLabelValues(route, strconv.Itoa(code)).Inc()
		m.seconds.WithLabelValues(route).Observe(took.Seconds())
	}
}

// InFlight adds to the number of requests being worked on.
func (m *HTTPMetrics) InFlight(delta int) {
	if m != nil {
		m.inFlight.Add(float64(delta))
	}
}

// Accepted counts recipients accepted for sending.
func (m *HTTPMetrics) Accepted(recipients int64) {
	if m != nil {
		m.accepted.Add(float64(recipients))
	}
}
