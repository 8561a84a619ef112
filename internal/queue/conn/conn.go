// Package conn opens connections to Redis: one server, a cluster, or the master that Sentinels point at.
package conn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cartero-mail/cartero/internal/queue/redisurl"
)

const (
	dialTimeout = 5 * time.Second
	// A batch of scripts may take a while on a busy machine; a server that is gone is noticed at once anyway.
	readTimeout = 10 * time.Second
	// clusterReload is how often the layout of a cluster is read again. A node that is reached answers with the place that
	// a key has moved to; one that died says nothing, and until the next reading its successor is not asked.
	clusterReload = 5 * time.Second
)

// Open returns a client for a URL:
//
//   - redis:// or rediss:// with user, password, host, port and database number, or unix:///path/to/socket?db=n;
//   - redis-cluster:// or rediss-cluster:// with user, password and some of a cluster's nodes, separated by commas;
//   - redis-sentinel:// or rediss-sentinel:// with user, password, Sentinels, the master's name and a database number.
//
// It does not connect yet, so that a program can start before Redis does. No error contains the URL, which may hold a
// password.
//
// Nothing is retried inside the client: who calls knows what may be repeated. A cluster is the exception, as a client
// can't tell a node that died from a key that moved: a call that brought no reply is made again, up to three times.
func Open(rawURL string) (redis.UniversalClient, error) {
	// The client's own log lines repeat what every caller gets as an error, at its own pace.
	logging.Disable()
	if redisurl.Accepts(rawURL) {
		return openDeployment(rawURL)
	}
	options, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	return redis.NewClient(options), nil
}

func parse(rawURL string) (*redis.Options, error) {
	if rawURL == "" {
		return nil, errors.New("REDIS_URL is empty: expected redis://[user:password@]host:port[/database]")
	}
	scheme, _, _ := strings.Cut(rawURL, "://")
	switch scheme {
	case "redis", "rediss", "unix":
	default:
		return nil, errors.New("REDIS_URL must begin with redis://, rediss://, unix://, redis-cluster://, rediss-cluster://, " +
			"redis-sentinel:// or rediss-sentinel://")
	}
	if _, err := url.Parse(rawURL); err != nil {
		return nil, errors.New("REDIS_URL is not a valid URL: percent-encode special characters of user and password")
	}
	options, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL is not a valid %s:// URL: expected %s", scheme, shape(scheme))
	}
	options.Protocol = 2
	// These look the server's name up as soon as a client is made, for a feature of one hosted service.
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	options.DisableIdentity = true
	options.MaxRetries = -1
	options.ContextTimeoutEnabled = true
	options.DialTimeout = dialTimeout
	options.ReadTimeout = readTimeout
	options.DialerRetries = 1
	return options, nil
}

func shape(scheme string) string {
	if scheme == "unix" {
		return "unix:///path/to/socket[?db=number]"
	}
	return scheme + "://[user:password@]host:port[/database number]"
}

func openDeployment(rawURL string) (redis.UniversalClient, error) {
	deployment, err := redisurl.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL %w", err)
	}
	if deployment.IsCluster() {
		return redis.NewClusterClient(clusterOptions(deployment)), nil
	}
	client := redis.NewFailoverClient(failoverOptions(deployment))
	client.AddHook(sentinelHook{})
	return client, nil
}

func clusterOptions(d redisurl.Deployment) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs:                      d.Addrs,
		Username:                   d.Username,
		Password:                   d.Password,
		TLSConfig:                  tlsConfig(d),
		Protocol:                   2,
		MaintNotificationsConfig:   &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		DisableIdentity:            true,
		MaxRedirects:               3,
		MaxRetries:                 -1,
		ContextTimeoutEnabled:      true,
		DialTimeout:                dialTimeout,
		ReadTimeout:                readTimeout,
		DialerRetries:              1,
		ClusterStateReloadInterval: clusterReload,
	}
}

func failoverOptions(d redisurl.Deployment) *redis.FailoverOptions {
	return &redis.FailoverOptions{
		SentinelAddrs:         d.Addrs,
		MasterName:            d.Master,
		SentinelUsername:      d.SentinelUsername,
		SentinelPassword:      d.SentinelPassword,
		Username:              d.Username,
		Password:              d.Password,
		DB:                    d.DB,
		TLSConfig:             tlsConfig(d),
		Protocol:              2,
		DisableIdentity:       true,
		MaxRetries:            -1,
		ContextTimeoutEnabled: true,
		DialTimeout:           dialTimeout,
		ReadTimeout:           readTimeout,
		DialerRetries:         1,
	}
}

// tlsConfig is nil without TLS. Without a name, each connection checks the certificate for the host that it goes to.
func tlsConfig(d redisurl.Deployment) *tls.Config {
	if !d.TLS {
		return nil
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         d.ServerName,
		InsecureSkipVerify: d.SkipVerify, //nolint:gosec // asked for in so many words
	}
}

// Named returns a client of its own to the same servers whose connections carry a name, as CLIENT LIST shows it. The
// caller closes it, before the other one: where Sentinels are asked for the master, it asks through that.
func Named(client redis.UniversalClient, name string) (redis.UniversalClient, error) {
	switch c := client.(type) {
	case *redis.Client:
		options := *c.Options()
		options.ClientName = name
		options.PoolSize = 2
		options.MinIdleConns = 0
		options.MaxRetries = -1 // a client's own options say 0 for none, which a new one takes for 3
		named := redis.NewClient(&options)
		named.AddHook(sentinelHook{})
		return named, nil
	case *redis.ClusterClient:
		options := *c.Options()
		options.Addrs = slices.Clone(options.Addrs) // each client appends to its own the nodes that it finds
		options.ClientName = name
		options.PoolSize = 2
		options.MinIdleConns = 0
		options.MaxRetries = -1
		return redis.NewClusterClient(&options), nil
	}
	return nil, fmt.Errorf("opening a second connection: unknown Redis client %T", client)
}
