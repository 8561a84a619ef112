package fetch

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Defaults of Config.
const (
	DefaultMaxBytes       = 256 << 20
	DefaultMaxContent     = 1 << 30
	DefaultConnectTimeout = 10 * time.Second
	DefaultHeaderTimeout  = 15 * time.Second
	DefaultIdleTimeout    = 15 * time.Second
	DefaultTotalTimeout   = 2 * time.Minute
	defaultPort           = 443
	maxRedirects          = 3
)

// Config is what the operator allows. The zero value fetches from public addresses on port 443.
type Config struct {
	// AllowPrivate are what may be fetched from although it is not public: addresses and ranges (10.1.2.0/24), and host
	// names, which may then have any address but a link-local one (among them the metadata services of clouds), for
	// which a range must be named.
	AllowPrivate []string
	// Hosts, where there are any, are the only ones to fetch from, redirects included: names, or .example.com for
	// all below that.
	Hosts []string
	// Ports may be asked besides 443.
	Ports []int
	// CA holds certificates in PEM that are trusted besides the system's.
	CA []byte
	// Proxy, an http or https URL, is asked for every connection; then it is the proxy that decides what can be reached,
	// and only addresses written in a URL are checked here. The environment's proxies are ignored.
	Proxy *url.URL
	// Dir is where the temporary files are; empty means the system's directory for those.
	Dir string
	// MaxBytes bounds a file as it is served, MaxContent what it decompresses to, in bytes.
	MaxBytes   int64
	MaxContent int64
	// ConnectTimeout bounds making a connection, HeaderTimeout the wait for an answer, IdleTimeout the wait for more of
	// it, TotalTimeout everything together.
	ConnectTimeout time.Duration
	HeaderTimeout  time.Duration
	IdleTimeout    time.Duration
	TotalTimeout   time.Duration
	// UserAgent is told to servers; empty means "cartero".
	UserAgent string
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxBytes, DefaultMaxBytes)
	setDefault(&c.MaxContent, DefaultMaxContent)
	setDefault(&c.ConnectTimeout, DefaultConnectTimeout)
	setDefault(&c.HeaderTimeout, DefaultHeaderTimeout)
	setDefault(&c.IdleTimeout, DefaultIdleTimeout)
	setDefault(&c.TotalTimeout, DefaultTotalTimeout)
	setDefault(&c.UserAgent, "cartero")
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// policy says whom a client may talk to.
type policy struct {
	ranges []netip.Prefix  // of Config.AllowPrivate
	names  map[string]bool // of Config.AllowPrivate, canonical
	hosts  []string        // Config.Hosts, canonical
	ports  []int
}

func newPolicy(c Config) (policy, error) {
	p := policy{names: map[string]bool{}, ports: append([]int{defaultPort}, c.Ports...)}
	var wrong []error
	for _, entry := range c.AllowPrivate {
		entry = strings.TrimSpace(entry)
		if prefix, err := netip.ParsePrefix(entry); err == nil {
			p.ranges = append(p.ranges, prefix.Masked())
			continue
		}
		if address, err := netip.ParseAddr(entry); err == nil && address.Zone() == "" {
			p.ranges = append(p.ranges, netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()))
			continue
		}
		if !isName(entry) {
			wrong = append(wrong, fmt.Errorf("%q, to be allowed, is no address, no range and no host name", entry))
			continue
		}
		p.names[canonical(entry)] = true
	}
	for _, entry := range c.Hosts {
		if !isName(strings.TrimPrefix(entry, ".")) {
			wrong = append(wrong, fmt.Errorf("%q, a host to ask, is no host name", entry))
		}
		p.hosts = append(p.hosts, canonical(entry))
	}
	for _, port := range c.Ports {
		if port < 1 || port > 65535 {
			wrong = append(wrong, fmt.Errorf("%d is no port", port))
		}
	}
	if c.Proxy != nil && (c.Proxy.Scheme != "http" && c.Proxy.Scheme != "https" || c.Proxy.Host == "") {
		wrong = append(wrong, errors.New("the proxy is not of the form http://host:port or https://host:port"))
	}
	return p, errors.Join(wrong...)
}

// isName reports whether text may be a host name: letters, digits, hyphens and dots.
func isName(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '-' && r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// canonical is what host names are compared by.
func canonical(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

// mayAsk reports whether Config.Hosts lets the host through.
func (p policy) mayAsk(host string) bool {
	host = canonical(host)
	return len(p.hosts) == 0 || slices.ContainsFunc(p.hosts, func(allowed string) bool {
		return host == allowed || strings.HasPrefix(allowed, ".") && strings.HasSuffix(host, allowed)
	})
}

// roots are the system's certificates with those of pem.
func roots(pem []byte) (*x509.CertPool, error) {
	if len(pem) == 0 {
		return nil, nil //nolint:nilnil // nil is the system's for crypto/tls
	}
	pool, err := x509.SystemCertPool()
	if err != nil { // there are none
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the file of certificates to trust holds none in PEM")
	}
	return pool, nil
}
