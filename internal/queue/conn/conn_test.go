package conn

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"
)

func TestParse(t *testing.T) {
	t.Parallel()
	type server struct {
		Network, Addr, Username, Password string
		DB                                int
		TLS                               string // the name that the certificate must carry
	}
	tests := map[string]server{
		"redis://localhost:6379":              {Network: "tcp", Addr: "localhost:6379"},
		"redis://localhost":                   {Network: "tcp", Addr: "localhost:6379"},
		"redis://:p%40ss@10.0.0.1:7000/3":     {Network: "tcp", Addr: "10.0.0.1:7000", Password: "p@ss", DB: 3},
		"rediss://app:secret@redis.example/1": {Network: "tcp", Addr: "redis.example:6379", Username: "app", Password: "secret", DB: 1, TLS: "redis.example"},
		"unix:///run/redis/redis.sock?db=2":   {Network: "unix", Addr: "/run/redis/redis.sock", DB: 2},
		"unix://app:secret@/run/r.sock":       {Network: "unix", Addr: "/run/r.sock", Username: "app", Password: "secret"},
	}
	for url, want := range tests {
		options, err := parse(url)
		if err != nil {
			t.Errorf("parse(%q): %v", url, err)
			continue
		}
		got := server{
			Network: options.Network, Addr: options.Addr, Username: options.Username, Password: options.Password,
			DB: options.DB, TLS: serverName(options.TLSConfig),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("parse(%q) (-want +got):\n%s", url, diff)
		}
	}
}

func serverName(config *tls.Config) string {
	if config == nil {
		return ""
	}
	return config.ServerName
}

func TestOpenRefusesWithoutShowingThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"",
		"s3cret",
		"http://:s3cret@localhost",
		"redis://:s3cret/x@localhost:6379",
		"redis://:s3cret%zz@localhost",
		"redis://user:s3cret@localhost:port",
		"redis://user:s3cret@localhost/notanumber",
		"redis://user:s3cret@localhost/0?s3cret=1",
		"unix://user:s3cret@",
	} {
		_, err := Open(url)
		if err == nil {
			t.Errorf("Open(%q) succeeded", url)
			continue
		}
		if text := err.Error(); strings.Contains(text, "s3cret") || !strings.Contains(text, "REDIS_URL") {
			t.Errorf("Open(%q): %q shows the password, or does not name REDIS_URL", url, text)
		}
	}
}

func TestNamedKeepsTheServer(t *testing.T) {
	t.Parallel()
	client, err := Open("redis://user:secret@127.0.0.1:1/4")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	named, err := Named(client, "bull:ZW1haWw=")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = named.Close() }()
	got, want := named.(*redis.Client).Options(), client.(*redis.Client).Options()
	ignore := cmpopts.IgnoreFields(redis.Options{}, "ClientName", "PoolSize", "MinIdleConns", "Dialer", "DialerRetryBackoff",
		"PushNotificationProcessor", "MaintNotificationsConfig", "MaxConcurrentDials", "PipelinePoolSize")
	if diff := cmp.Diff(*want, *got, ignore, cmpopts.IgnoreUnexported(redis.Options{})); diff != "" {
		t.Errorf("the named client goes elsewhere (-want +got):\n%s", diff)
	}
	if got.MaxRetries != 0 {
		t.Errorf("MaxRetries = %d: a blocking pop that is repeated strands a job", got.MaxRetries)
	}
	if got.ClientName != "bull:ZW1haWw=" {
		t.Errorf("ClientName = %q", got.ClientName)
	}
}
