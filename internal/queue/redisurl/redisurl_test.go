package redisurl_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/redisurl"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]redisurl.Deployment{
		"redis-cluster://a":             {Addrs: []string{"a:6379"}},
		"redis+cluster://a:7000,b/":     {Addrs: []string{"a:7000", "b:6379"}},
		"redis-cluster://a:7000/0":      {Addrs: []string{"a:7000"}},
		"redis-cluster://[::1]:7,[::2]": {Addrs: []string{"[::1]:7", "[::2]:6379"}},
		"rediss-cluster://app:p%40s%2Fs@a:1,b:2?tls_server_name=redis.example&skip_verify=false": {
			Addrs: []string{"a:1", "b:2"}, Username: "app", Password: "p@s/s", TLS: true, ServerName: "redis.example",
		},
		"rediss-cluster://:p@a?skip_verify=true": {Addrs: []string{"a:6379"}, Password: "p", TLS: true, SkipVerify: true},
		"redis-sentinel://a/mymaster":            {Addrs: []string{"a:26379"}, Master: "mymaster"},
		"redis+sentinel://a:1,b,[::1]:3/my%20master/3": {
			Addrs: []string{"a:1", "b:26379", "[::1]:3"}, Master: "my master", DB: 3,
		},
		"rediss-sentinel://u:p@a/m/?sentinel_password=s%26p&sentinel_username=su": {
			Addrs: []string{"a:26379"}, Username: "u", Password: "p", Master: "m",
			SentinelUsername: "su", SentinelPassword: "s&p", TLS: true,
		},
	}
	for text, want := range tests {
		if !redisurl.Accepts(text) {
			t.Errorf("Accepts(%q) = false", text)
		}
		got, err := redisurl.Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", text, diff)
		}
		if got.IsCluster() != strings.Contains(text, "cluster") {
			t.Errorf("Parse(%q).IsCluster() = %t", text, got.IsCluster())
		}
	}
}

func TestParseRefusesWithoutShowingThePassword(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"redis://:s3cret@a",
		"s3cret",
		"redis-cluster://",
		"redis-cluster://:s3cret@",
		"redis-cluster://:s3cret@a,,b",
		"redis-cluster://:s3cret@a:b",
		"redis-cluster://:s3cret@a:0",
		"redis-cluster://:s3cret@a:70000",
		"redis-cluster://:s3cret@::1",
		"redis-cluster://:s3cret@[a]",
		"redis-cluster://:s3cret@a/1",
		"redis-cluster://:s3cret#@a",
		"redis-cluster://:s3cret/@a",
		"redis-cluster://:s3cret?@a",
		"redis-cluster://:s3cret%zz@a",
		"redis-cluster://a?sentinel_password=s3cret",
		"redis-cluster://a?skip_verify=true",
		"rediss-cluster://:s3cret@a?skip_verify=s3cret",
		"redis-sentinel://:s3cret@a",
		"redis-sentinel://:s3cret@a/",
		"redis-sentinel://:s3cret@a/m/first",
		"redis-sentinel://:s3cret@a/m/1/2",
		"redis-sentinel://:s3cret@a/%zz",
		"redis-sentinel://a/m?s3cret=1",
		"redis-sentinel://a/m?sentinel_password=%s3cret",
	} {
		_, err := redisurl.Parse(text)
		if err == nil {
			t.Errorf("Parse(%q) succeeded", text)
			continue
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Parse(%q): %q shows the password", text, err)
		}
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"redis-cluster://a":            nil,
		"redis://:pw@a":                nil, // not of several servers
		"redis-cluster://user:plain@a": {"plain"},
		"redis-sentinel://:pw@a/m?x=1": nil, // an unknown parameter
		"redis-sentinel://:p%2f+w@a/m?sentinel_password=%73entinel": {
			"%73entinel", "p%2F%2Bw", "p%2F+w", "p%2f+w", "p/+w", "sentinel",
		},
	}
	for text, want := range tests {
		if diff := cmp.Diff(want, redisurl.Secrets(text)); diff != "" {
			t.Errorf("Secrets(%q) (-want +got):\n%s", text, diff)
		}
	}
}
