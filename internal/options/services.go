package options

import (
	"errors"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/queue/redisurl"
)

// Queue dialects and kinds of workers, as QUEUE_DIALECT and QUEUE_WORKERS name them.
const (
	DialectBull    = "bull"
	DialectBullMQ  = "bullmq"
	WorkersCartero = "cartero"
	WorkersMixed   = "mixed"

	// BullMQVersionAuto is the BULLMQ_VERSION that leaves it to the queue.
	BullMQVersionAuto = "auto"
)

// Database says where the rows are.
type Database struct {
	// URL is mysql://user:password@host:port/database as Prisma writes it, or sqlite://path.
	URL string
	// MigrateOnStart runs the migrations before anything else.
	MigrateOnStart bool
	// Embedded is set by commands that bring a database of their own where no URL is given.
	Embedded bool
}

// Bind implements Area.
func (o *Database) Bind(b *Binder) {
	b.Area("Database")
	b.String(&o.URL, Spec{
		Variable: "DATABASE_URL", Required: !o.Embedded, Embedded: o.Embedded,
		Meaning: "mysql://user:password@host:port/database, percent-encoded as Prisma writes it, or sqlite://path",
	})
	b.Bool(&o.MigrateOnStart, Spec{
		Variable: "MIGRATE_ON_START", Default: "true",
		Meaning: "bring the tables up to date at start",
	})
}

// Validate implements Area.
func (o *Database) Validate() error {
	const accepted = "must be mysql://user:password@host:port/database or sqlite://path"
	if o.URL == "" {
		return o.missing()
	}
	if path, ok := strings.CutPrefix(o.URL, "sqlite://"); ok {
		if path == "" {
			return SettingError{"DATABASE_URL", accepted}
		}
		return nil
	}
	parsed, err := url.Parse(o.URL)
	if err != nil {
		// The parser's message quotes the URL and with it the password.
		return SettingError{"DATABASE_URL", accepted + "; user and password must be percent-encoded (@ is %40, # is %23, / is %2F)"}
	}
	reachable := parsed.Hostname() != "" || parsed.Query().Get("socket") != ""
	if parsed.Scheme != "mysql" || !reachable || strings.Trim(parsed.Path, "/") == "" {
		return SettingError{"DATABASE_URL", accepted}
	}
	return nil
}

func (o *Database) missing() error {
	if o.Embedded {
		return nil
	}
	return SettingError{"DATABASE_URL", "is required: mysql://user:password@host:port/database or sqlite://path"}
}

func (o *Database) secrets() []string { return urlSecrets(o.URL) }

// Redis says where the queue is.
type Redis struct {
	// URL is redis://, rediss:// or unix://, with user, password and database number, or redis-cluster://,
	// redis-sentinel:// or one of these with rediss, as package redisurl reads them.
	URL string
	// Embedded is set by commands that bring a Redis of their own where no URL is given.
	Embedded bool
}

// Bind implements Area.
func (o *Redis) Bind(b *Binder) {
	b.Area("Redis")
	b.String(&o.URL, Spec{
		Variable: "REDIS_URL", Required: !o.Embedded, Embedded: o.Embedded,
		Meaning: "redis://user:password@host:port/0, unix://path, redis-cluster://user:password@host:port,host:port " +
			"or redis-sentinel://user:password@host:port,host:port/master; rediss… for TLS",
	})
}

// Validate implements Area.
func (o *Redis) Validate() error {
	const accepted = "must be redis://user:password@host:port/number, unix:///path?db=number, " +
		"redis-cluster://host:port,host:port or redis-sentinel://host:port,host:port/master; rediss… for TLS"
	if o.URL == "" {
		if o.Embedded {
			return nil
		}
		return SettingError{"REDIS_URL", "is required: redis://host:port/0, rediss://host:port/0 for TLS, unix:///path, " +
			"redis-cluster://host:port,host:port or redis-sentinel://host:port,host:port/master"}
	}
	if redisurl.Accepts(o.URL) {
		if _, err := redisurl.Parse(o.URL); err != nil {
			return SettingError{"REDIS_URL", err.Error()}
		}
		return nil
	}
	parsed, err := url.Parse(o.URL)
	if err != nil {
		return SettingError{"REDIS_URL", accepted + "; user and password must be percent-encoded (@ is %40, # is %23, / is %2F)"}
	}
	switch parsed.Scheme {
	case "redis", "rediss":
		number := strings.Trim(parsed.Path, "/")
		if _, err := strconv.ParseUint(number, 10, 16); number != "" && err != nil {
			return SettingError{"REDIS_URL", "must end with the number of a database, such as /0; " + accepted}
		}
		if parsed.Hostname() != "" {
			return nil
		}
	case "unix":
		if parsed.Path != "" {
			return nil
		}
	}
	return SettingError{"REDIS_URL", accepted}
}

func (o *Redis) secrets() []string {
	if redisurl.Accepts(o.URL) {
		return redisurl.Secrets(o.URL)
	}
	return urlSecrets(o.URL)
}

// urlSecrets returns the password in a URL, as written and decoded.
func urlSecrets(text string) []string {
	parsed, err := url.Parse(text)
	if err != nil || parsed.User == nil {
		return nil
	}
	password, ok := parsed.User.Password()
	if !ok || password == "" {
		return nil
	}
	secrets := []string{password}
	for _, encoded := range []string{url.QueryEscape(password), url.PathEscape(password), encodedPassword(text)} {
		if encoded != "" && encoded != secrets[len(secrets)-1] {
			secrets = append(secrets, encoded)
		}
	}
	return secrets
}

// encodedPassword cuts the password out of a URL without decoding it.
func encodedPassword(text string) string {
	_, rest, _ := strings.Cut(text, "://")
	authority, _, _ := strings.Cut(rest, "/")
	at := strings.LastIndex(authority, "@")
	if at < 0 {
		return ""
	}
	_, password, _ := strings.Cut(authority[:at], ":")
	return password
}

// Queue says which Bull queue is used, and how.
type Queue struct {
	// Name and Prefix make the keys: <prefix>:<name>:…
	Name   string
	Prefix string
	// Dialect is DialectBull or DialectBullMQ.
	Dialect string
	// BullMQVersion is BullMQVersionAuto, "5" or "6"; see BullMQMajor.
	BullMQVersion string
	// BullOnly is set by commands that do more with a queue than add to it: they refuse DialectBullMQ.
	BullOnly bool
	// Workers is WorkersMixed where Node workers take jobs, always so with DialectBullMQ, else WorkersCartero.
	Workers string
	// MaxSize is the number of waiting jobs at which the facade answers 503.
	MaxSize int
	// LockDuration is how long a job stays locked without being renewed; it is renewed at half of it.
	LockDuration time.Duration
	// StalledInterval is the time between two checks for jobs whose lock was lost.
	StalledInterval time.Duration
	// MaxStalledCount is how often a job may stall before it fails.
	MaxStalledCount int
	// LimiterMax jobs start in each LimiterDuration at most, over all workers; 0 is no limit.
	LimiterMax      int
	LimiterDuration time.Duration
	// MetricsMaxDataPoints is how many minutes Bull's metrics go back; 0 keeps none.
	MetricsMaxDataPoints int
}

// Bind implements Area.
func (o *Queue) Bind(b *Binder) {
	b.Area("Queue")
	b.String(&o.Name, Spec{Variable: "QUEUE_NAME_EMAIL", Default: "email-queue", Meaning: "name of the Bull queue"})
	b.String(&o.Prefix, Spec{Variable: "BULL_PREFIX", Default: "bull", Meaning: "prefix of the queue's keys in Redis"})
	b.Enum(&o.Dialect, Spec{
		Variable: "QUEUE_DIALECT", Default: DialectBull,
		Meaning: "bull, or bullmq where all workers are built on the npm package bullmq (operator and facade only)",
	}, DialectBull, DialectBullMQ)
	b.Enum(&o.BullMQVersion, Spec{
		Variable: "BULLMQ_VERSION", Default: BullMQVersionAuto,
		Meaning: "major version of those workers: 5, 6, or auto for what BullMQ has written into the queue, else 5",
	}, BullMQVersionAuto, "5", "6")
	b.Enum(&o.Workers, Spec{
		Variable: "QUEUE_WORKERS", Default: WorkersCartero,
		Meaning: "cartero, or mixed where Node workers share the queue; always mixed with QUEUE_DIALECT=bullmq",
	}, WorkersCartero, WorkersMixed)
	b.Int(&o.MaxSize, Spec{
		Variable: "QUEUE_MAXSIZE", Default: "10000",
		Meaning: "waiting jobs at which the HTTP facade answers 503",
	}, 1, 100_000_000)
	b.Duration(&o.LockDuration, Spec{
		Variable: "BULL_LOCK_DURATION", Default: "30s",
		Meaning: "how long a worker's lock on a job holds without being renewed",
	}, time.Second, time.Hour)
	b.Duration(&o.StalledInterval, Spec{
		Variable: "BULL_STALLED_INTERVAL", Default: "30s",
		Meaning: "time between two checks for jobs whose worker died",
	}, time.Second, time.Hour)
	b.Int(&o.MaxStalledCount, Spec{
		Variable: "BULL_MAX_STALLED_COUNT", Default: "1",
		Meaning: "how often a job may lose its worker before Bull calls it failed",
	}, 0, 1000)
	b.Int(&o.LimiterMax, Spec{
		Variable: "BULL_LIMITER_MAX", Default: "0",
		Meaning: "jobs that start in each BULL_LIMITER_DURATION at most, over all workers, which must agree; 0 is no limit (mails are paced by SMTP_SEND_INTERVAL)",
	}, 0, 1_000_000)
	b.Duration(&o.LimiterDuration, Spec{
		Variable: "BULL_LIMITER_DURATION", Default: "1s",
		Meaning: "window of BULL_LIMITER_MAX",
	}, time.Millisecond, 24*time.Hour)
	b.Int(&o.MetricsMaxDataPoints, Spec{
		Variable: "BULL_METRICS_MAX_DATA_POINTS", Default: "0",
		Meaning: "minutes of Bull's job metrics to keep, as Node workers with the option metrics do; 0 keeps none",
	}, 0, 1_000_000)
}

// BullMQMajor is the major version of BullMQ that the workers have; 0 for what the queue says.
func (o *Queue) BullMQMajor() int {
	major, _ := strconv.Atoi(o.BullMQVersion) // "auto" is 0
	return major
}

// Validate implements Area. It derives Workers where the dialect decides it.
func (o *Queue) Validate() error {
	var problems []error
	if o.Dialect == DialectBullMQ {
		o.Workers = WorkersMixed // Cartero's own worker is none of them
		if o.BullOnly {
			problems = append(problems, SettingError{"QUEUE_DIALECT", "must be bull here: with bullmq only operator and facade run, " +
				"and workers built on the npm package bullmq take the jobs"})
		}
	}
	// Braces are Redis Cluster's hash tags: they keep a queue's keys in one slot.
	if strings.ContainsAny(o.Name, " \t\r\n:") {
		problems = append(problems, SettingError{"QUEUE_NAME_EMAIL", "must be a name without blanks or colons"})
	}
	if strings.ContainsAny(o.Prefix, " \t\r\n") {
		problems = append(problems, SettingError{"BULL_PREFIX", "must be a name without blanks"})
	}
	return errors.Join(problems...)
}

// hostname is the machine's name, for SMTP_HELO_NAME.
func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}
