package options

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Delivery says how mails are sent safely.
type Delivery struct {
	// JournalDir holds the journal of what went to the relay; JournalSync makes every entry survive a lost node.
	JournalDir  string
	JournalSync bool
	// Lease is how long a claim of recipients holds without being renewed.
	Lease time.Duration
	// ShutdownGrace is how long mails in flight may take to finish after SIGTERM.
	ShutdownGrace time.Duration
	// Embedded is set by commands that choose the journal's directory themselves where none is given.
	Embedded bool
}

// Bind implements Area.
func (o *Delivery) Bind(b *Binder) {
	b.Area("Delivery")
	journal := Spec{
		Variable: "WORKER_JOURNAL_DIR", Default: "/var/lib/cartero", Embedded: o.Embedded,
		Meaning: "directory of the delivery journal; it must outlive the process",
	}
	if o.Embedded {
		journal.Default = ""
	}
	b.String(&o.JournalDir, journal)
	b.Bool(&o.JournalSync, Spec{
		Variable: "WORKER_JOURNAL_SYNC", Default: "false",
		Meaning: "flush the journal to disk before each final dot, so that it survives the loss of the node",
	})
	b.Duration(&o.Lease, Spec{
		Variable: "WORKER_LEASE", Default: "60s",
		Meaning: "how long a worker's claim on recipients holds without being renewed",
	}, 10*time.Second, time.Hour)
	b.Duration(&o.ShutdownGrace, Spec{
		Variable: "WORKER_SHUTDOWN_GRACE", Default: "100s",
		Meaning: "how long mails in flight may take to finish after SIGTERM; keep it below terminationGracePeriodSeconds",
	}, 0, time.Hour)
}

// Validate implements Area.
func (o *Delivery) Validate() error {
	if o.JournalDir != "" && !filepath.IsAbs(o.JournalDir) && !o.Embedded {
		return SettingError{"WORKER_JOURNAL_DIR", "must be an absolute path"}
	}
	return nil
}

// Worker says how jobs are worked off.
type Worker struct {
	Delivery

	// Concurrency is the number of jobs at once.
	Concurrency int
	// Retry is when a deferred recipient is tried again.
	Retry Retry
}

// Retry is the schedule of attempts: exponential with full jitter, capped by number and by age.
type Retry struct {
	MaxAttempts    int
	InitialBackoff time.Duration
	MaxBackoff     time.Duration
	MaxAge         time.Duration
}

// Bind implements Area.
func (o *Worker) Bind(b *Binder) {
	o.Delivery.Bind(b)
	b.Area("Worker")
	b.Int(&o.Concurrency, Spec{
		Variable: "WORKER_CONCURRENCY", Default: "4",
		Meaning: "jobs worked off at once; while they take all of it, four times as many single mails (POST /send_async) and twice as many first jobs of campaigns",
	}, 1, 1000)
	b.Int(&o.Retry.MaxAttempts, Spec{
		Variable: "RETRY_MAX_ATTEMPTS", Default: "6",
		Meaning: "attempts per recipient, the first included",
	}, 1, 100)
	b.Duration(&o.Retry.InitialBackoff, Spec{
		Variable: "RETRY_INITIAL_BACKOFF", Default: "60s",
		Meaning: "wait before the second attempt; it doubles from there, with jitter",
	}, time.Second, 24*time.Hour)
	b.Duration(&o.Retry.MaxBackoff, Spec{
		Variable: "RETRY_MAX_BACKOFF", Default: "4h",
		Meaning: "longest wait between two attempts",
	}, time.Second, 7*24*time.Hour)
	b.Duration(&o.Retry.MaxAge, Spec{
		Variable: "RETRY_MAX_AGE", Default: "48h",
		Meaning: "time after the first attempt at which a recipient is given up",
	}, time.Second, 30*24*time.Hour)
}

// Validate implements Area.
func (o *Worker) Validate() error {
	problems := []error{o.Delivery.Validate()}
	if o.Retry.InitialBackoff > o.Retry.MaxBackoff {
		problems = append(problems, SettingError{"RETRY_INITIAL_BACKOFF", "must not be longer than RETRY_MAX_BACKOFF"})
	}
	if o.Retry.MaxBackoff > o.Retry.MaxAge {
		problems = append(problems, SettingError{"RETRY_MAX_BACKOFF", "must not be longer than RETRY_MAX_AGE"})
	}
	return errors.Join(problems...)
}

// Outbox says how often the database is swept for jobs that belong into the queue.
type Outbox struct {
	SweepInterval time.Duration
}

// Bind implements Area.
func (o *Outbox) Bind(b *Binder) {
	b.Area("Outbox")
	b.Duration(&o.SweepInterval, Spec{
		Variable: "SWEEP_INTERVAL", Default: "15s",
		Meaning: "time between two searches for jobs that belong into the queue and are not there",
	}, time.Second, time.Hour)
}

// Validate implements Area.
func (o *Outbox) Validate() error { return nil }

// Facade says where the HTTP facade listens and whom it lets in.
type Facade struct {
	// Keys are the accepted values of X-API-Key; several for rotation.
	Keys []string
	// Policies bound what the holders of some of them may do.
	Policies []KeyPolicy
	Host     string
	Port     int
	// MaxBody is the largest request body in bytes.
	MaxBody int64
	// MaxInFlight is the number of requests worked on at once; more are answered 503.
	MaxInFlight int
	// SpoolDir takes lists too large for memory while they are checked.
	SpoolDir string
	// RecordRetention is how long what came over HTTP is kept after its end; 0 is for ever.
	RecordRetention time.Duration
	// Embedded is set by commands that make a key of their own where none is given.
	Embedded bool

	policy string
}

// Bind implements Area.
func (o *Facade) Bind(b *Binder) {
	b.Area("HTTP facade")
	b.List(&o.Keys, Spec{
		Variable: "API_KEY", Required: !o.Embedded, Embedded: o.Embedded,
		Meaning: "accepted value of X-API-Key, or several separated by commas (for rotation)",
	})
	b.String(&o.policy, Spec{
		Variable: keyPolicyVariable,
		Meaning:  "JSON: names, rates and sender domains of keys (see docs/security.md)",
	})
	b.String(&o.Host, Spec{Variable: "SERVICE_HOST", Default: "0.0.0.0", Meaning: "address to listen on"})
	b.Int(&o.Port, Spec{Variable: "SERVICE_PORT", Default: "8000", Meaning: "port to listen on"}, 0, 65535)
	b.Bytes(&o.MaxBody, Spec{
		Variable: "FACADE_MAX_BODY", Default: "128MiB",
		Meaning: "largest request body; larger ones are answered 413",
	}, 1<<10, 4<<30)
	b.Int(&o.MaxInFlight, Spec{
		Variable: "FACADE_MAX_IN_FLIGHT", Default: "64",
		Meaning: "requests worked on at once; more are answered 503",
	}, 1, 100_000)
	b.String(&o.SpoolDir, Spec{
		Variable: "FACADE_SPOOL_DIR",
		Meaning:  "directory for lists over 1 MiB while they are checked; the system's temporary directory unless set",
	})
	b.Duration(&o.RecordRetention, Spec{
		Variable: "RECORD_RETENTION", Default: "0s",
		Meaning: "time after its end at which what came over HTTP is removed from the database, 1h or more; 0s keeps it (see docs/records.md)",
	}, 0, 100*365*24*time.Hour)
}

// Validate implements Area. It derives Policies from what API_KEY_POLICY says.
func (o *Facade) Validate() (err error) {
	if len(o.Keys) == 0 && !o.Embedded {
		return SettingError{"API_KEY", "is required: one key, or several separated by commas; openssl rand -hex 32 makes a good one"}
	}
	for _, key := range o.Keys {
		if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return SettingError{"API_KEY", "must be visible ASCII characters without blanks, since it travels in an HTTP header"}
		}
	}
	if o.RecordRetention > 0 && o.RecordRetention < time.Hour {
		return SettingError{"RECORD_RETENTION", "must be 0s or at least 1h: a repeated Idempotency-Key is known for this long"}
	}
	o.Policies, err = parseKeyPolicies(o.policy, o.Keys)
	return err
}

// Address is the listener's host:port.
func (o *Facade) Address() string { return net.JoinHostPort(o.Host, strconv.Itoa(o.Port)) }

func (o *Facade) secrets() []string { return o.Keys }

// Operator says how EmailCampaigns are reconciled.
type Operator struct {
	LeaderElect bool
	// LeaderElectionNamespace is where the lease lives; empty for the pod's own.
	LeaderElectionNamespace string
	// WatchNamespace restricts the operator to one namespace; empty for all.
	WatchNamespace          string
	MaxConcurrentReconciles int
	// Kubeconfig is a path; empty for the pod's service account.
	Kubeconfig string
	// DeletionPatience is how long the deletion of an EmailCampaign waits for the database.
	DeletionPatience time.Duration
	// NoProgressAfter is how long nobody may end while mails are to be sent before status says so.
	NoProgressAfter time.Duration
	// TestRecipients get test mails; at most MaxTestRecipients, none twice.
	TestRecipients []string
	// Embedded is set by commands that bring a control plane of their own where no kubeconfig is given.
	Embedded bool
}

// Bind implements Area.
func (o *Operator) Bind(b *Binder) {
	b.Area("Operator")
	b.Bool(&o.LeaderElect, Spec{
		Variable: "LEADER_ELECT", Default: "true",
		Meaning: "let one of several replicas act, chosen through a Lease",
	})
	b.String(&o.LeaderElectionNamespace, Spec{
		Variable: "LEADER_ELECTION_NAMESPACE",
		Meaning:  "namespace of that Lease; the pod's own unless set",
	})
	b.String(&o.WatchNamespace, Spec{Variable: "WATCH_NAMESPACE", Meaning: "the only namespace to watch; all unless set"})
	b.Int(&o.MaxConcurrentReconciles, Spec{
		Variable: "MAX_CONCURRENT_RECONCILES", Default: "36",
		Meaning: "campaigns reconciled at once",
	}, 1, 1000)
	b.String(&o.Kubeconfig, Spec{
		Variable: "KUBECONFIG", Embedded: o.Embedded,
		Meaning: "path of a kubeconfig; the pod's service account unless set",
	})
	b.Duration(&o.DeletionPatience, Spec{
		Variable: "DELETION_PATIENCE", Default: "1h",
		Meaning: "how long the deletion of an EmailCampaign waits for a database that is away; then the object goes, and its campaign is left running",
	}, time.Second, 30*24*time.Hour)
	b.Duration(&o.NoProgressAfter, Spec{
		Variable: "NO_PROGRESS_AFTER", Default: "15m",
		Meaning: "how long nobody may end while mails are to be sent before an EmailCampaign is Stalled with NoProgress",
	}, time.Minute, 24*time.Hour)
	b.List(&o.TestRecipients, Spec{
		Variable: "TEST_RECIPIENTS",
		Meaning:  "who gets the test mails that the annotation mail.cartero.dev/test-send-at asks for: addresses separated by commas, at most 20",
	})
}

// MaxTestRecipients is the most addresses of TEST_RECIPIENTS.
const MaxTestRecipients = 20

// Validate implements Area.
func (o *Operator) Validate() error {
	var problems []error
	const accepted = "must be the name of one namespace: lower-case letters, digits and dashes, at most 63"
	if !isNamespace(o.LeaderElectionNamespace) {
		problems = append(problems, SettingError{"LEADER_ELECTION_NAMESPACE", accepted})
	}
	if !isNamespace(o.WatchNamespace) {
		problems = append(problems, SettingError{"WATCH_NAMESPACE", accepted})
	}
	if !areTestRecipients(o.TestRecipients) {
		problems = append(problems, SettingError{
			"TEST_RECIPIENTS", "must be e-mail addresses such as tests@example.com, separated by commas, at most 20 and none twice",
		})
	}
	if o.Kubeconfig != "" && !strings.ContainsRune(o.Kubeconfig, os.PathListSeparator) {
		if info, err := os.Stat(o.Kubeconfig); err != nil || info.IsDir() {
			problems = append(problems, SettingError{"KUBECONFIG", "must be the path of a readable file"})
		}
	}
	return errors.Join(problems...)
}

func areTestRecipients(addresses []string) bool {
	seen := map[string]bool{}
	for _, address := range addresses {
		if !plainAddress(address) || seen[strings.ToLower(address)] {
			return false
		}
		seen[strings.ToLower(address)] = true
	}
	return len(addresses) <= MaxTestRecipients
}

// isNamespace accepts an empty name too: it stands for "not set".
func isNamespace(name string) bool {
	bad := func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }
	return len(name) <= 63 && !strings.ContainsFunc(name, bad) &&
		!strings.HasPrefix(name, "-") && !strings.HasSuffix(name, "-")
}

// Log formats, as LOG_FORMAT names them.
const (
	LogJSON = "json"
	LogText = "text"
)

// Telemetry says what is logged, and where metrics and probes are served.
type Telemetry struct {
	Level slog.Level
	// LogFormat is LogJSON or LogText.
	LogFormat string
	// MetricsAddress and HealthAddress are host:port, or "0" for none.
	MetricsAddress string
	HealthAddress  string

	level string
}

// Bind implements Area.
func (o *Telemetry) Bind(b *Binder) {
	b.Area("Telemetry")
	b.Enum(&o.level, Spec{Variable: "LOG_LEVEL", Default: "info", Meaning: "debug, info, warn or error"},
		"debug", "info", "warn", "error", "warning")
	b.Enum(&o.LogFormat, Spec{Variable: "LOG_FORMAT", Default: LogJSON, Meaning: "json or text"}, LogJSON, LogText)
	b.String(&o.MetricsAddress, Spec{
		Variable: "METRICS_BIND_ADDRESS", Default: ":8080",
		Meaning: "address of /metrics; 0 turns it off",
	})
	b.String(&o.HealthAddress, Spec{
		Variable: "HEALTH_PROBE_BIND_ADDRESS", Default: ":8081",
		Meaning: "address of /livez and /readyz; 0 turns it off",
	})
}

// Validate implements Area. It derives Level from what LOG_LEVEL says.
func (o *Telemetry) Validate() error {
	switch o.level {
	case "debug":
		o.Level = slog.LevelDebug
	case "warn", "warning":
		o.Level = slog.LevelWarn
	case "error":
		o.Level = slog.LevelError
	}
	var problems []error
	if !isListenAddress(o.MetricsAddress) {
		problems = append(problems, SettingError{"METRICS_BIND_ADDRESS", "must be host:port, :port, or 0 for none"})
	}
	if !isListenAddress(o.HealthAddress) {
		problems = append(problems, SettingError{"HEALTH_PROBE_BIND_ADDRESS", "must be host:port, :port, or 0 for none"})
	}
	if o.MetricsAddress == o.HealthAddress && o.MetricsAddress != "0" && !strings.HasSuffix(o.MetricsAddress, ":0") {
		problems = append(problems, SettingError{"HEALTH_PROBE_BIND_ADDRESS", "must differ from METRICS_BIND_ADDRESS"})
	}
	return errors.Join(problems...)
}

func isListenAddress(address string) bool {
	if address == "0" {
		return true
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}
