package options_test

import (
	"bytes"
	"errors"
	"flag"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/domains"
	"github.com/cartero-mail/cartero/internal/options"
)

// all is every area of settings, as a command that takes them all would have it.
type all struct {
	Database    options.Database
	Redis       options.Redis
	Queue       options.Queue
	Sender      options.Sender
	SMTP        options.SMTP
	Worker      options.Worker
	Outbox      options.Outbox
	Facade      options.Facade
	Unsubscribe options.Unsubscribe
	Embedded    options.Embedded
	Operator    options.Operator
	Fetch       options.Fetch
	Telemetry   options.Telemetry
}

func (a *all) command() options.Command {
	return options.Command{Name: "everything", Summary: "Does everything.", Areas: []options.Area{
		&a.Database, &a.Redis, &a.Queue, &a.Sender, &a.SMTP, &a.Worker, &a.Outbox, &a.Facade, &a.Unsubscribe, &a.Embedded, &a.Operator, &a.Fetch, &a.Telemetry,
	}}
}

// required is the least environment that all starts with.
func required() map[string]string {
	return map[string]string{
		"DATABASE_URL": "mysql://root:p%40ss@db:3306/worker_db",
		"REDIS_URL":    "redis://redis:6379/0",
		"SMTP_SERVER":  "smtp.example.com",
		"API_KEY":      "key-one",
	}
}

func lookup(env map[string]string) options.Lookup {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

func with(changes map[string]string) map[string]string {
	env := required()
	maps.Copy(env, changes)
	return env
}

// defaults is what all is with nothing but the required settings.
func defaults(t *testing.T) all {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return all{
		Database: options.Database{URL: "mysql://root:p%40ss@db:3306/worker_db", MigrateOnStart: true},
		Redis:    options.Redis{URL: "redis://redis:6379/0"},
		Queue: options.Queue{
			Name: "email-queue", Prefix: "bull", Dialect: "bull", BullMQVersion: "auto", Workers: "cartero", MaxSize: 10000,
			LockDuration: 30 * time.Second, StalledInterval: 30 * time.Second, MaxStalledCount: 1, LimiterDuration: time.Second,
		},
		SMTP: options.SMTP{Server: "smtp.example.com", Port: 587, UseTLS: true, MaxConnections: 10, HELOName: host},
		Worker: options.Worker{
			Concurrency: 4, Delivery: options.Delivery{JournalDir: "/var/lib/cartero", Lease: time.Minute, ShutdownGrace: 100 * time.Second},
			Retry: options.Retry{
				MaxAttempts: 6, InitialBackoff: time.Minute, MaxBackoff: 4 * time.Hour, MaxAge: 48 * time.Hour,
			},
		},
		Outbox: options.Outbox{SweepInterval: 15 * time.Second},
		Facade: options.Facade{
			Keys: []string{"key-one"}, Host: "0.0.0.0", Port: 8000, MaxBody: 128 << 20, MaxInFlight: 64,
		},
		Embedded: options.Embedded{DataDir: "cartero-data"},
		Operator: options.Operator{
			LeaderElect: true, MaxConcurrentReconciles: 36, DeletionPatience: time.Hour, NoProgressAfter: 15 * time.Minute,
		},
		Telemetry: options.Telemetry{LogFormat: "json", MetricsAddress: ":8080", HealthAddress: ":8081"},
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	kubeconfig := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(kubeconfig, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		env  map[string]string
		want func(*all)
	}{
		{name: "defaults", env: required(), want: func(*all) {}},
		{
			name: "empty variables count as not set",
			env: with(map[string]string{
				"SMTP_PORT": "", "SMTP_USERNAME": "", "SMTP_PASSWORD": "", "QUEUE_NAME_EMAIL": " ", "LOG_LEVEL": "",
			}),
			want: func(*all) {},
		},
		{
			name: "variables",
			env: with(map[string]string{
				"MIGRATE_ON_START": "No", "QUEUE_NAME_EMAIL": "mails", "QUEUE_WORKERS": "MIXED", "QUEUE_MAXSIZE": "5",
				"BULL_LOCK_DURATION": "1m30s", "SMTP_PORT": "465", "SMTP_USERNAME": "u", "SMTP_PASSWORD": " p w \n",
				"SMTP_USE_TLS": "False", "SMTP_FROM": "News <news@example.com>", "SMTP_SEND_INTERVAL": "10s",
				"SMTP_HELO_NAME": "mx.example.com", "WORKER_JOURNAL_SYNC": "YES", "RETRY_MAX_AGE": "72h",
				"API_KEY": " new , old ,", "FACADE_MAX_BODY": "32MiB", "LEADER_ELECT": "0", "KUBECONFIG": kubeconfig,
				"SMTP_DOMAIN_LIMITS": "gmail.com=600/1m,connections=5; *=20/1s",
				"LOG_LEVEL":          "WARNING", "LOG_FORMAT": "text", "METRICS_BIND_ADDRESS": "0", "SWEEP_INTERVAL": "1m",
				"WATCH_NAMESPACE": "news", "DELETION_PATIENCE": "10s", "TEST_RECIPIENTS": "qa@example.com, ana@example.com",
			}),
			want: func(a *all) {
				a.Database.MigrateOnStart = false
				a.Queue.Name, a.Queue.Workers, a.Queue.MaxSize = "mails", options.WorkersMixed, 5
				a.Queue.LockDuration = 90 * time.Second
				a.SMTP.Port, a.SMTP.Username, a.SMTP.Password, a.SMTP.UseTLS = 465, "u", " p w ", false
				a.SMTP.SendInterval, a.SMTP.HELOName = 10*time.Second, "mx.example.com"
				a.SMTP.Domains = []domains.Group{
					{Domains: []string{"gmail.com"}, Messages: 600, Period: time.Minute, Burst: 1, Connections: 5},
					{Domains: []string{"*"}, Messages: 20, Period: time.Second, Burst: 1},
				}
				a.Sender.From = "News <news@example.com>"
				a.Worker.JournalSync, a.Worker.Retry.MaxAge = true, 72*time.Hour
				a.Facade.Keys, a.Facade.MaxBody = []string{"new", "old"}, 32<<20
				a.Operator.LeaderElect, a.Operator.Kubeconfig, a.Operator.WatchNamespace = false, kubeconfig, "news"
				a.Operator.DeletionPatience = 10 * time.Second
				a.Operator.TestRecipients = []string{"qa@example.com", "ana@example.com"}
				a.Telemetry.Level, a.Telemetry.LogFormat, a.Telemetry.MetricsAddress = slog.LevelWarn, "text", "0"
				a.Outbox.SweepInterval = time.Minute
			},
		},
		{
			name: "BullMQ means workers of others",
			env:  with(map[string]string{"QUEUE_DIALECT": "BullMQ", "BULLMQ_VERSION": "6", "QUEUE_WORKERS": "cartero"}),
			want: func(a *all) {
				a.Queue.Dialect, a.Queue.BullMQVersion, a.Queue.Workers = options.DialectBullMQ, "6", options.WorkersMixed
			},
		},
		{
			name: "flags outrank variables",
			args: []string{"--smtp-server=relay", "--smtp-port", "25", "--smtp-use-tls=false", "-worker-journal-sync", "--queue-name-email="},
			env:  with(map[string]string{"SMTP_PORT": "wrong", "QUEUE_NAME_EMAIL": "mails"}),
			want: func(a *all) {
				a.SMTP.Server, a.SMTP.Port, a.SMTP.UseTLS, a.Worker.JournalSync = "relay", 25, false, true
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got all
			if err := got.command().Load(tt.args, lookup(tt.env), &bytes.Buffer{}); err != nil {
				t.Fatal(err)
			}
			want := defaults(t)
			tt.want(&want)
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(options.Telemetry{}, options.Facade{}, options.SMTP{})); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBullMQIsForProducers(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]int{"auto": 0, "5": 5, "6": 6} {
		if got := (&options.Queue{BullMQVersion: version}).BullMQMajor(); got != want {
			t.Errorf("BULLMQ_VERSION=%s is %d, want %d", version, got, want)
		}
	}
	got := (&options.Queue{Dialect: options.DialectBullMQ, BullOnly: true}).Validate()
	want := options.SettingError{"QUEUE_DIALECT", "must be bull here: with bullmq only operator and facade run, " +
		"and workers built on the npm package bullmq take the jobs"}
	if !errors.Is(got, want) {
		t.Errorf("Validate for a worker = %v, want %v", got, want)
	}
}

func TestLoadRefusesEverythingAtOnce(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"DATABASE_URL": "mysql://root:hunter2@@:x/", "REDIS_URL": "http://:hunter2@redis", "QUEUE_DIALECT": "hunter2",
		"QUEUE_MAXSIZE": "0", "BULL_LOCK_DURATION": "30", "SMTP_SERVER": "smtp://hunter2@relay", "SMTP_PORT": "hunter2",
		"SMTP_PASSWORD": "hunter2", "SMTP_USE_TLS": "maybe", "SMTP_FROM": "hunter2", "WORKER_LEASE": "5s",
		"RETRY_INITIAL_BACKOFF": "5h", "API_KEY": "hunter2 hunter2", "FACADE_MAX_BODY": "lots", "WATCH_NAMESPACE": "a,b",
		"KUBECONFIG": "/does/not/exist", "LOG_LEVEL": "loud", "METRICS_BIND_ADDRESS": "8080", "LOG_FORMAT": "xml",
		"QUEUE_NAME_EMAIL": "a:b", "DELETION_PATIENCE": "0s", "TEST_RECIPIENTS": "hunter2@example.com,HUNTER2@example.com",
	}
	var a all
	err := a.command().Load([]string{"--smpt-server=hunter2", "stray", "--worker-concurrency=none"}, lookup(env), &bytes.Buffer{})
	if _, ok := errors.AsType[*options.InvalidError](err); !ok {
		t.Fatalf("error %v, want *InvalidError", err)
	}
	want := `wrong settings (see cartero everything --help):
  --smpt-server: there is no such flag (--help lists them)
  QUEUE_DIALECT: must be bull or bullmq
  QUEUE_MAXSIZE: must be a whole number from 1 to 100000000
  BULL_LOCK_DURATION: is a number without a unit: add one, such as 500ms, 10s, 5m or 2h
  SMTP_PORT: must be a whole number from 1 to 65535
  SMTP_USE_TLS: must be true or false (yes, no, 1 and 0 are accepted too)
  WORKER_LEASE: must be from 10s to 1h
  WORKER_CONCURRENCY: must be a whole number from 1 to 1000
  FACADE_MAX_BODY: must be a size such as 32MiB, from 1024 to 4294967296 bytes
  DELETION_PATIENCE: must be from 1s to 720h
  LOG_LEVEL: must be debug or info or warn or error or warning
  LOG_FORMAT: must be json or text
  DATABASE_URL: must be mysql://user:password@host:port/database or sqlite://path; user and password must be percent-encoded (@ is %40, # is %23, / is %2F)
  REDIS_URL: must be redis://user:password@host:port/number, unix:///path?db=number, redis-cluster://host:port,host:port or redis-sentinel://host:port,host:port/master; rediss… for TLS
  QUEUE_NAME_EMAIL: must be a name without blanks or colons
  SMTP_FROM: must be one e-mail address, such as news@example.com or News <news@example.com>
  SMTP_SERVER: must be a host name or IP address alone: no scheme, user or path (the port is SMTP_PORT)
  SMTP_USERNAME: is required where SMTP_PASSWORD is set: set both or none
  RETRY_INITIAL_BACKOFF: must not be longer than RETRY_MAX_BACKOFF
  API_KEY: must be visible ASCII characters without blanks, since it travels in an HTTP header
  WATCH_NAMESPACE: must be the name of one namespace: lower-case letters, digits and dashes, at most 63
  TEST_RECIPIENTS: must be e-mail addresses such as tests@example.com, separated by commas, at most 20 and none twice
  KUBECONFIG: must be the path of a readable file
  METRICS_BIND_ADDRESS: must be host:port, :port, or 0 for none`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the message repeats a value")
	}
}

func TestLoadNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	var a all
	err := a.command().Load(nil, lookup(nil), &bytes.Buffer{})
	want := `wrong settings (see cartero everything --help):
  DATABASE_URL: is required: mysql://user:password@host:port/database or sqlite://path
  REDIS_URL: is required: redis://host:port/0, rediss://host:port/0 for TLS, unix:///path, redis-cluster://host:port,host:port or redis-sentinel://host:port,host:port/master
  SMTP_SERVER: is required: the host name or IP address of the relay, such as smtp.example.com
  API_KEY: is required: one key, or several separated by commas; openssl rand -hex 32 makes a good one`
	if err == nil {
		t.Fatal("nothing was refused")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}

func TestEmbeddedAreasNeedNothing(t *testing.T) {
	t.Parallel()
	a := all{
		Database: options.Database{Embedded: true}, Redis: options.Redis{Embedded: true}, SMTP: options.SMTP{Embedded: true},
		Worker: options.Worker{Delivery: options.Delivery{Embedded: true}}, Facade: options.Facade{Embedded: true}, Operator: options.Operator{Embedded: true},
	}
	if err := a.command().Load(nil, lookup(nil), &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	var help bytes.Buffer
	if err := a.command().WriteHelp(&help); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(help.String(), "(default: embedded)"); got != 6 {
		t.Errorf("%d settings are called embedded, want 6:\n%s", got, &help)
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		variable string
		value    string
		ok       bool
	}{
		{"DATABASE_URL", "mysql://root@db/worker_db", true},
		{"DATABASE_URL", "mysql://root:p%23%2F@[::1]:3306/worker_db?connection_limit=5", true},
		{"DATABASE_URL", "mysql://root@/worker_db?socket=/run/mysqld.sock", true},
		{"DATABASE_URL", "sqlite:///var/lib/cartero/db.sqlite", true},
		{"DATABASE_URL", "sqlite://db.sqlite", true},
		{"DATABASE_URL", "sqlite://", false},
		{"DATABASE_URL", "mysql://root@db/", false},
		{"DATABASE_URL", "postgresql://root@db/worker_db", false},
		{"DATABASE_URL", "root:pw@tcp(db:3306)/worker_db", false},
		{"REDIS_URL", "redis://localhost", true},
		{"REDIS_URL", "rediss://user:p%40ss@redis:6380/3", true},
		{"REDIS_URL", "unix:///run/redis.sock?db=1", true},
		{"REDIS_URL", "redis://localhost/first", false},
		{"REDIS_URL", "localhost:6379", false},
		{"REDIS_URL", "unix://", false},
		{"REDIS_URL", "redis-cluster://user:p%40ss@a:7000,b:7000,c", true},
		{"REDIS_URL", "redis-cluster://a:7000/1", false},
		{"REDIS_URL", "rediss-sentinel://:p@a,b/mymaster/1?sentinel_password=s", true},
		{"REDIS_URL", "redis-sentinel://a,b", false},
		{"SMTP_SERVER", "2001:db8::1", true},
		{"SMTP_SERVER", "relay:25", false},
		{"SMTP_FROM", `"quoted local"@example.com`, false},
		{"SMTP_FROM", "a@example.com, b@example.com", false},
		{"SMTP_FROM", "news@localhost", true},
		{"HEALTH_PROBE_BIND_ADDRESS", ":8080", false}, // the address of the metrics
		{"HEALTH_PROBE_BIND_ADDRESS", "127.0.0.1:9", true},
		{"FACADE_MAX_BODY", "1073741824", true},
		{"FACADE_MAX_BODY", "9223372036854775807GiB", false},
		{"FACADE_MAX_BODY", "64Mi", true},
		{"FACADE_MAX_BODY", "10 MB", true},
		{"SMTP_SEND_INTERVAL", "0", true},
		{"SMTP_SEND_INTERVAL", "-1s", false},
		{"SMTP_DOMAIN_LIMITS", "gmail.com", false},
		{"SMTP_DOMAIN_LIMITS", "gmail.com=connections=3", true},
	}
	for _, tt := range tests {
		t.Run(tt.variable+"="+tt.value, func(t *testing.T) {
			t.Parallel()
			var a all
			err := a.command().Load(nil, lookup(with(map[string]string{tt.variable: tt.value})), &bytes.Buffer{})
			if (err == nil) != tt.ok {
				t.Errorf("error %v, want accepted = %t", err, tt.ok)
			}
		})
	}
}

func TestHelpNamesEverySetting(t *testing.T) {
	t.Parallel()
	var a all
	var out bytes.Buffer
	if err := a.command().Load([]string{"--help"}, lookup(nil), &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("error %v, want flag.ErrHelp", err)
	}
	for _, s := range a.command().Settings() {
		if !strings.Contains(out.String(), "  --"+s.Flag+" ") || !strings.Contains(out.String(), " "+s.Variable+"\n      "+s.Meaning) {
			t.Errorf("--help lacks %s", s.Variable)
		}
	}
	if !strings.Contains(out.String(), "\nSMTP:\n  --smtp-server                  SMTP_SERVER\n      host name or IP address of the relay (required)\n") {
		t.Errorf("--help reads:\n%s", &out)
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	got := options.Secrets(
		&options.Database{URL: "mysql://root:p%40s+s@db/worker_db"}, &options.Redis{URL: "redis://:word@redis"},
		&options.SMTP{Password: "relay-password"}, &options.Facade{Keys: []string{"one", "two"}}, &options.Outbox{})
	want := []string{"p@s+s", "p%40s%2Bs", "p@s+s", "p%40s+s", "word", "relay-password", "one", "two"}
	less := func(a, b string) bool { return a < b }
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(less)); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}

func TestSenderAddress(t *testing.T) {
	t.Parallel()
	got := (&options.Sender{From: "Año Nuevo <news@example.com>"}).Address()
	if diff := cmp.Diff(mail.Address{Name: "Año Nuevo", Address: "news@example.com"}, got); diff != "" {
		t.Errorf("address (-want +got):\n%s", diff)
	}
	if got := (&options.Sender{}).Address(); got != (mail.Address{}) {
		t.Errorf("address without SMTP_FROM: %v", got)
	}
}
