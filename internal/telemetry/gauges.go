package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds what a gauge asks others for: a scrape must not hang on a dependency that is away.
const scrapeTimeout = 2 * time.Second

// Read tells the values of a gauge by the value of its label.
type Read func(ctx context.Context) (map[string]float64, error)

// gauge is read when it is scraped. While its source does not answer, it has no series: nothing is better than what was.
type gauge struct {
	desc *prometheus.Desc
	read Read
}

// Describe implements prometheus.Collector.
func (g gauge) Describe(descs chan<- *prometheus.Desc) { descs <- g.desc }

// Collect implements prometheus.Collector.
func (g gauge) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	values, err := g.read(ctx)
	if err != nil {
		return
	}
	for label, value := range values {
		metrics <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, value, label)
	}
}

// NewQueueMetrics registers the depth of the queue, which is read at each scrape.
func NewQueueMetrics(registerer prometheus.Registerer, read Read) {
	registerer.MustRegister(gauge{
		desc: prometheus.NewDesc("cartero_queue_jobs", "Jobs in the queue by state, as the queue tells at the scrape.", []string{"state"}, nil),
		read: read,
	})
}

// NewClockMetrics registers how wrong the machine's clock is.
func NewClockMetrics(registerer prometheus.Registerer, read func() float64) {
	registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cartero_clock_offset_seconds",
		Help: "How far the database's clock, by which Cartero goes, is ahead of the machine's.",
	}, read))
}

// NewCampaignMetrics registers the number of campaigns, which are counted at each scrape.
func NewCampaignMetrics(registerer prometheus.Registerer, read Read) {
	registerer.MustRegister(gauge{
		desc: prometheus.NewDesc("cartero_campaigns",
			"EmailCampaigns by state: the reason of their condition Ready, or Unseen.", []string{"state"}, nil),
		read: read,
	})
}
