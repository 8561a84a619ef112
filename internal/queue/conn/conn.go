// Package conn opens connections to Redis.
package conn

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Open returns a client for a URL: redis:// or rediss:// with user, password, host, port and database number, or
// unix:///path/to/socket?db=n. It does not connect yet, so that a program can start before Redis does. No error contains
// the URL, which may hold a password.
//
// Nothing is retried inside the client: who calls knows what may be repeated.
func Open(rawURL string) (redis.UniversalClient, error) {
	options, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	// The client's own log lines repeat what every caller gets as an error, at its own pace.
	logging.Disable()
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
		return nil, errors.New("REDIS_URL must begin with redis://, rediss:// or unix://")
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
	options.DialTimeout = 5 * time.Second
	// A batch of scripts may take a while on a busy machine; a server that is gone is noticed at once anyway.
	options.ReadTimeout = 10 * time.Second
	options.DialerRetries = 1
	return options, nil
}

func shape(scheme string) string {
	if scheme == "unix" {
		return "unix:///path/to/socket[?db=number]"
	}
	return scheme + "://[user:password@]host:port[/database number]"
}

// Named returns a client of its own to the same server whose connections carry a name, as CLIENT LIST shows it. The
// caller closes it.
func Named(client redis.UniversalClient, name string) (redis.UniversalClient, error) {
	switch c := client.(type) {
	case *redis.Client:
		options := *c.Options()
		options.ClientName = name
		options.PoolSize = 2
		options.MinIdleConns = 0
		options.MaxRetries = -1 // a client's own options say 0 for none, which a new one takes for 3
		return redis.NewClient(&options), nil
	case *redis.ClusterClient:
		options := *c.Options()
		options.ClientName = name
		options.PoolSize = 2
		options.MinIdleConns = 0
		options.MaxRetries = -1
		return redis.NewClusterClient(&options), nil
	}
	return nil, fmt.Errorf("opening a second connection: unknown Redis client %T", client)
}
