package telemetry

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// RelayStats is how the connections to the SMTP relay stand.
type RelayStats struct {
	// Busy, Idle and Dialing are connections, Limit is how many there may be now, Waiting are mails without one.
	Busy, Idle, Dialing, Limit, Waiting int
	// Sent are mails that were accepted, Followed those of them that were opened behind another's final dot, Dials are
	// connections made, Cuts is how often Limit was lowered, and Disorders how often replies did not fit the commands.
	Sent, Followed, Dials, Cuts, Disorders uint64
}

// RelayMetrics show the connections to the relay, over all pools of the process, as they are at the scrape.
type RelayMetrics struct {
	connections, limit, waiting, mails, dials, cuts, disorders *prometheus.Desc

	mu    sync.Mutex
	pools []func() RelayStats
}

// NewRelayMetrics registers the metrics of the connections to the relay, at first of no pool.
func NewRelayMetrics(registerer prometheus.Registerer) *RelayMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("cartero_smtp_"+name, help, labels, nil)
	}
	m := &RelayMetrics{
		connections: desc("connections", "Connections to the relay by state.", "state"),
		limit:       desc("connections_limit", "Connections that there may be now: fewer than SMTP_MAX_CONNECTIONS while the relay asks for it."),
		waiting:     desc("waiting_mails", "Mails that wait for a connection."),
		mails: desc("mails_total", "Mails that the relay accepted, by what they waited for: a round trip of their own, or one that they "+
			"shared with the mail before them.", "round"),
		dials:     desc("dials_total", "Connections that were made."),
		cuts:      desc("connections_cut_total", "Times that the number of connections was lowered because the relay complained."),
		disorders: desc("disorders_total", "Connections dropped because the relay's replies did not fit the commands."),
	}
	registerer.MustRegister(m)
	return m
}

// Add has a pool counted in; read must be cheap and safe for concurrent use.
func (m *RelayMetrics) Add(read func() RelayStats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pools = append(m.pools, read)
}

// Describe implements prometheus.Collector.
func (m *RelayMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{m.connections, m.limit, m.waiting, m.mails, m.dials, m.cuts, m.disorders} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *RelayMetrics) Collect(metrics chan<- prometheus.Metric) {
	s, ok := m.sum()
	if !ok {
		return
	}
	gauge := func(desc *prometheus.Desc, value int, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), labels...)
	}
	counter := func(desc *prometheus.Desc, value uint64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
	}
	gauge(m.connections, s.Busy, "busy")
	gauge(m.connections, s.Idle, "idle")
	gauge(m.connections, s.Dialing, "dialing")
	gauge(m.limit, s.Limit)
	gauge(m.waiting, s.Waiting)
	counter(m.mails, s.Sent-min(s.Sent, s.Followed), "own")
	counter(m.mails, min(s.Sent, s.Followed), "shared")
	counter(m.dials, s.Dials)
	counter(m.cuts, s.Cuts)
	counter(m.disorders, s.Disorders)
}

// sum adds up the pools; it reports false where there is none.
func (m *RelayMetrics) sum() (all RelayStats, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, read := range m.pools {
		s := read()
		all.Busy, all.Idle, all.Dialing = all.Busy+s.Busy, all.Idle+s.Idle, all.Dialing+s.Dialing
		all.Limit, all.Waiting = all.Limit+s.Limit, all.Waiting+s.Waiting
		all.Sent, all.Followed, all.Dials = all.Sent+s.Sent, all.Followed+s.Followed, all.Dials+s.Dials
		all.Cuts, all.Disorders = all.Cuts+s.Cuts, all.Disorders+s.Disorders
	}
	return all, len(m.pools) > 0
}
