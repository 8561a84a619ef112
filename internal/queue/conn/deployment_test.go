package conn_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/internal/queue/redistest"
)

// hardening is what every client has in common.
type hardening struct {
	Protocol, MaxRetries, DialerRetries int
	ContextTimeout, NoIdentity          bool
	Username, Password                  string
	ServerName                          string
}

func TestOpenDeployments(t *testing.T) {
	t.Parallel()
	tests := map[string]hardening{
		"redis-cluster://app:p%40@a:1,b":                         {2, 0, 1, true, true, "app", "p@", ""},
		"rediss-cluster://a?tls_server_name=redis.example":       {2, 0, 1, true, true, "", "", "redis.example"},
		"redis-sentinel://:p@a,b/mymaster/3":                     {2, 0, 1, true, true, "", "p", ""},
		"rediss-sentinel://a/mymaster?tls_server_name=redis.lan": {2, 0, 1, true, true, "", "", "redis.lan"},
		"rediss-sentinel://a/mymaster":                           {2, 0, 1, true, true, "", "", ""},
	}
	for url, want := range tests {
		client, err := conn.Open(url)
		if err != nil {
			t.Errorf("Open(%q): %v", url, err)
			continue
		}
		if diff := cmp.Diff(want, hardeningOf(t, client)); diff != "" {
			t.Errorf("Open(%q) (-want +got):\n%s", url, diff)
		}
		_ = client.Close()
	}
}

func hardeningOf(t *testing.T, client redis.UniversalClient) hardening {
	t.Helper()
	serverName := func(config *tls.Config) string {
		if config == nil {
			return ""
		}
		return config.ServerName
	}
	switch c := client.(type) {
	case *redis.Client:
		o := c.Options()
		return hardening{o.Protocol, o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled, o.DisableIdentity, o.Username, o.Password, serverName(o.TLSConfig)}
	case *redis.ClusterClient:
		o := c.Options()
		return hardening{o.Protocol, max(o.MaxRetries, 0), o.DialerRetries, o.ContextTimeoutEnabled, o.DisableIdentity, o.Username, o.Password, serverName(o.TLSConfig)}
	}
	t.Fatalf("a %T", client)
	return hardening{}
}

func TestOpenRefusesDeploymentsWithoutShowingThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis-cluster://:s3cret@", "redis-sentinel://:s3cret@a", "redis-cluster://a/1?s3cret", "mongodb://:s3cret@a"} {
		_, err := conn.Open(url)
		if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "REDIS_URL") {
			t.Errorf("Open(%q) = %v, want an error that names REDIS_URL and shows no password", url, err)
		}
	}
}

func TestCheckSlot(t *testing.T) {
	t.Parallel()
	cluster, single := open(t, "redis-cluster://a"), open(t, "redis://a")
	for base, ok := range map[string]bool{
		"bull:email-queue:": false, "{bull}:email-queue:": true, "bull:{email-queue}:": true, "a:{b:c}:": true,
		"{}bull:email-queue:": false, "{bull:email-queue:": false, "bull}:email-queue{:": false, "{}{bull}:q:": false,
	} {
		err := conn.CheckSlot(cluster, base)
		if (err == nil) != ok {
			t.Errorf("CheckSlot(cluster, %q) = %v, want accepted = %t", base, err, ok)
		}
		if err != nil && (!strings.Contains(err.Error(), "BULL_PREFIX") || !strings.Contains(err.Error(), "QUEUE_NAME_EMAIL")) {
			t.Errorf("CheckSlot(cluster, %q) = %v: what to set?", base, err)
		}
		if err := conn.CheckSlot(single, base); err != nil {
			t.Errorf("CheckSlot(single, %q) = %v", base, err)
		}
	}
}

func open(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	client, err := conn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func named(t *testing.T, client redis.UniversalClient) redis.UniversalClient {
	t.Helper()
	other, err := conn.Named(client, "bull:ZW1haWw=")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	return other
}

// TestNamedSharesNoAddresses: each client of a cluster appends the nodes that it finds to the list that it was given.
func TestNamedSharesNoAddresses(t *testing.T) {
	t.Parallel()
	client, ok := open(t, "redis-cluster://a,b,c").(*redis.ClusterClient)
	other, ok2 := named(t, client).(*redis.ClusterClient)
	if !ok || !ok2 {
		t.Fatal("not clients of a cluster")
	}
	if &client.Options().Addrs[0] == &other.Options().Addrs[0] {
		t.Error("both clients write to one list")
	}
}

// TestNamedOnACluster: a named connection goes to the node of its keys, follows them when they move, and finds their new
// master when the old one died.
func TestNamedOnACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Redis servers")
	}
	t.Parallel()
	cluster := redistest.StartCluster(t, true)
	client := open(t, cluster.URL())
	other := named(t, client)
	key := "{c}:wait" // slot 7365, of the second master
	push := func() {
		t.Helper()
		redistest.Eventually(t, "the key can be written", func(ctx context.Context) error {
			return client.LPush(ctx, key, "id").Err()
		})
	}
	push()
	if got, err := other.BLMove(t.Context(), key, "{c}:active", "RIGHT", "LEFT", 0).Result(); err != nil || got != "id" {
		t.Fatalf("BLMove = %q, %v", got, err)
	}
	if got := namesOn(t, cluster.Masters[1]); !slices.Contains(got, "bull:ZW1haWw=") {
		t.Errorf("names of connections: %q", got)
	}

	follower := cluster.Replicas[1].Client()
	defer func() { _ = follower.Close() }()
	redistest.Eventually(t, "the replica has the keys", func(ctx context.Context) error {
		n, err := follower.Do(ctx, "CLUSTER", "COUNTKEYSINSLOT", 7365).Int()
		if err == nil && n != 1 {
			err = errors.New("it has not")
		}
		return err
	})
	cluster.Masters[1].Kill()
	cluster.TakeOver(1)
	push()
	redistest.Eventually(t, "the named connection finds the new master", func(ctx context.Context) error {
		return other.BLMove(ctx, key, "{c}:active", "RIGHT", "LEFT", 0).Err()
	})
	if got := namesOn(t, cluster.Replicas[1]); !slices.Contains(got, "bull:ZW1haWw=") {
		t.Errorf("names of connections after the failover: %q", got)
	}
}

func namesOn(t *testing.T, server *redistest.Server) []string {
	t.Helper()
	client := server.Client()
	defer func() { _ = client.Close() }()
	text, err := client.ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for field := range strings.FieldsSeq(text) {
		if name, ok := strings.CutPrefix(field, "name="); ok && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// TestNamedBehindSentinels: a named connection goes to the master, and to the next one when that died.
func TestNamedBehindSentinels(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Redis servers")
	}
	t.Parallel()
	watched := redistest.StartWatched(t)
	client := open(t, watched.URL())
	other := named(t, client)
	pop := func() {
		t.Helper()
		redistest.Eventually(t, "the list can be written", func(ctx context.Context) error {
			return client.LPush(ctx, "wait", "id").Err()
		})
		redistest.Eventually(t, "the list can be read", func(ctx context.Context) error {
			return other.BLMove(ctx, "wait", "active", "RIGHT", "LEFT", 0).Err()
		})
		if got := namesOn(t, watched.Master); !slices.Contains(got, "bull:ZW1haWw=") {
			t.Errorf("names of connections: %q", got)
		}
	}
	pop()
	watched.KillMaster()
	pop()
}

// TestUnknownMaster: Sentinels that don't know the master are no empty Redis.
func TestUnknownMaster(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Redis servers")
	}
	t.Parallel()
	watched := redistest.StartWatched(t)
	client := open(t, strings.Replace(watched.URL(), redistest.MasterName, "other", 1))
	for what, c := range map[string]redis.UniversalClient{"client": client, "named": named(t, client)} {
		err := c.Get(t.Context(), "key").Err()
		if unavailable, ok := errors.AsType[net.Error](err); !ok || errors.Is(err, redis.Nil) {
			t.Errorf("%s: %v (%T), want a net.Error", what, err, unavailable)
		}
	}
}
