package facade

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/submit"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// Defaults and limits.
const (
	// MaxSubject is the limit of a subject, in characters: one line of RFC 5322 section 2.1.1.
	MaxSubject = 998
	// MaxContent is the limit of any one value in a request, the mail's body among them, in bytes.
	MaxContent = 2 << 20

	// DefaultMaxBody and those below are what zero stands for in Config.
	DefaultMaxBody       = 128 << 20
	DefaultMaxRecipients = 1_000_000
	DefaultMaxInFlight   = 64
	DefaultMaxQueue      = 10_000
)

// Jobs tells how a job stands.
type Jobs interface {
	// JobReport returns the job with this id, whoever wrote it, or campaign.ErrNotFound.
	JobReport(ctx context.Context, id string) (campaign.JobReport, error)
	// RecipientReports says how the recipients of a job stand, in order of their ids: at most limit of those behind after,
	// which is empty for the first. A job that is not there has none.
	RecipientReports(ctx context.Context, jobID, after string, limit int) ([]campaign.RecipientReport, error)
}

// Doorbell puts the jobs of a sealed campaign into the queue. outbox.Outbox is one.
type Doorbell interface {
	RingCampaign(ctx context.Context, key string) error
}

// QueueLength tells how many jobs wait in the queue, those being worked off not among them.
type QueueLength func(ctx context.Context) (int64, error)

// Submission takes single mails. submit.Service is one.
type Submission interface {
	// Send sends a mail and reports its end.
	Send(ctx context.Context, mail campaign.Submission) (submit.Sent, error)
	// Enqueue has a mail sent.
	Enqueue(ctx context.Context, mail campaign.Submission) (submit.Queued, error)
}

// Config is what a facade is made of. Ledger, Jobs, Submission, Doorbell, QueueLength and Keys are required.
type Config struct {
	// Version is the program's, for the API's description.
	Version     string
	Ledger      campaign.Ledger
	Jobs        Jobs
	Submission  Submission
	Doorbell    Doorbell
	QueueLength QueueLength
	// Messages is the record of sends; without one there is no GET /messages.
	Messages Messages
	// Links and Unsubscriber are what recipients unsubscribe with; without Links nobody does here.
	Links        Links
	Unsubscriber Unsubscriber
	// Keys are the accepted values of X-API-Key.
	Keys []string
	// Policies bound what the holders of some keys may do.
	Policies []Policy
	// MaxQueue is the number of waiting jobs at which campaigns are refused with 503.
	MaxQueue int64
	// MaxBody is the largest request body in bytes, MaxRecipients the longest list in it, MaxInFlight the number of
	// requests worked on at once.
	MaxBody       int64
	MaxRecipients int
	MaxInFlight   int
	// JobSize is the number of recipients of one job; 0 means campaign.DefaultJobSize.
	JobSize int
	// DefaultFrom is the sender of requests that name none; the zero value makes them name one.
	DefaultFrom mail.Address
	// MixedWorkers tells that Node workers share the queue: campaigns that they would mail in another way are refused.
	MixedWorkers bool
	// SpoolDir takes lists too large for memory while they are checked; empty is the system's temporary directory.
	SpoolDir string
	// Checks are the components that GET /readyz asks.
	Checks []telemetry.Check
	// Unavailable tells that an error of Ledger or Jobs means an outage, so that asking again is right. nil takes every
	// one for an outage.
	Unavailable func(error) bool
	Logger      *slog.Logger
	Metrics     *telemetry.HTTPMetrics
	// Now is the clock and NewID makes request ids and campaign keys; nil means time.Now and UUIDv7.
	Now   func() time.Time
	NewID func() string
}

// facade is the state that the handlers share.
type facade struct {
	Config
	guards

	loader *campaign.Loader
	fill   *fill
	mux    *routes
	// loading are the keys of the idempotent campaigns that are being written.
	loading sync.Map
}

// New returns the facade's handler, or an error that names what cfg lacks.
func New(cfg Config) (http.Handler, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	guards, err := newGuards(cfg)
	if err != nil {
		return nil, err
	}
	f := &facade{
		Config: cfg,
		guards: guards,
		loader: campaign.NewLoader(cfg.Ledger, cfg.Now),
		mux:    &routes{ServeMux: http.NewServeMux()},
	}
	f.fill = &fill{ask: f.queueIsFull, now: cfg.Now}
	health := telemetry.NewHealth(cfg.Logger, cfg.Checks...)
	f.probe("GET /health", f.health)
	f.probe("GET /livez", health.Live)
	f.probe("GET /readyz", health.Ready)
	f.streamed("POST /send-campaign", f.sendCampaign)
	api := f.newAPI()
	f.registerMails(api)
	f.registerJobs(api)
	if cfg.Messages != nil {
		f.registerMessages(api)
	}
	if cfg.Links != nil {
		f.registerUnsubscribing()
	}
	if err := f.serveDescription(api); err != nil { // last: it holds what was registered before
		return nil, fmt.Errorf("facade: describing the calls: %w", err)
	}
	f.open(catchAll, f.unknown)
	return f.mux, nil
}

func (c Config) check() error {
	switch {
	case c.Ledger == nil || c.Jobs == nil || c.Submission == nil || c.Doorbell == nil || c.QueueLength == nil:
		return errors.New("facade: Ledger, Jobs, Submission, Doorbell and QueueLength are required")
	case c.Links != nil && c.Unsubscriber == nil:
		return errors.New("facade: Links need an Unsubscriber")
	case len(c.Keys) == 0:
		return errors.New("facade: at least one key is required")
	case c.MaxQueue < 0 || c.MaxBody < 0 || c.MaxRecipients < 0 || c.MaxInFlight < 0 || c.JobSize < 0:
		return errors.New("facade: MaxQueue, MaxBody, MaxRecipients, MaxInFlight and JobSize must not be negative")
	}
	for i, key := range c.Keys {
		if key == "" {
			return fmt.Errorf("facade: key number %d is empty", i+1)
		}
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.MaxQueue == 0 {
		c.MaxQueue = DefaultMaxQueue
	}
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.MaxRecipients == 0 {
		c.MaxRecipients = DefaultMaxRecipients
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	if c.JobSize == 0 {
		c.JobSize = campaign.DefaultJobSize
	}
	if c.Unavailable == nil {
		c.Unavailable = func(error) bool { return true }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	return c
}

// Serve answers requests on the listener until ctx ends, with time limits that suit lists of a million recipients.
// Requests under way may take the grace to finish. It closes the listener, and returns nil after a clean stop.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, grace time.Duration, logger *slog.Logger) error {
	limits := telemetry.Limits{
		ReadHeader: 5 * time.Second,
		Read:       5 * time.Minute,
		Write:      15 * time.Minute,
		Grace:      grace,
	}
	return telemetry.ServeListener(ctx, listener, handler, limits, logger)
}

// health is what the services that Cartero replaces answer, byte for byte.
func (f *facade) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"status": "ok"}`)) // Whoever asked has gone away.
}
