// Package redisurl reads the URLs that name a Redis of several servers: a Redis Cluster, or a master that Sentinels watch
// over. URLs of one server (redis://, rediss://, unix://) are go-redis's own.
package redisurl

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Forms is how the URLs look that Parse accepts. rediss-… means TLS, to Sentinels too; a '+' may stand for the '-'.
const (
	ClusterForm  = "redis-cluster://[user:password@]host:port[,host:port…]"
	SentinelForm = "redis-sentinel://[user:password@]host:port[,host:port…]/master name[/database number]"
)

const (
	clusterPort  = "6379"
	sentinelPort = "26379"
)

// Deployment is what a URL says.
type Deployment struct {
	// Addrs are some nodes of the cluster, or Sentinels, as host:port. The others are found through them.
	Addrs []string
	// Username and Password are those of the Redis servers.
	Username, Password string
	// Master is the name by which the Sentinels know the master; empty for a cluster.
	Master string
	// DB is the database number; always 0 on a cluster.
	DB int
	// SentinelUsername and SentinelPassword are those of the Sentinels, which often ask for none.
	SentinelUsername, SentinelPassword string
	// TLS says that all of them are spoken to through TLS, with ServerName as the name that every certificate must carry,
	// or each host's own if it is empty, or with certificates that are not verified.
	TLS        bool
	ServerName string
	SkipVerify bool
}

// IsCluster reports whether the URL names a cluster rather than Sentinels.
func (d Deployment) IsCluster() bool { return d.Master == "" }

// schemes maps each scheme to whether it names a cluster, and whether it asks for TLS.
var schemes = map[string]struct{ cluster, tls bool }{
	"redis-cluster":   {cluster: true},
	"rediss-cluster":  {cluster: true, tls: true},
	"redis-sentinel":  {},
	"rediss-sentinel": {tls: true},
}

func schemeOf(text string) string {
	scheme, _, _ := strings.Cut(text, "://")
	return strings.Replace(scheme, "+", "-", 1)
}

// Accepts reports whether a text has the scheme of a Redis of several servers.
func Accepts(text string) bool {
	_, ok := schemes[schemeOf(text)]
	return ok
}

// Parse reads a URL. Its errors say what is expected after "must" or "has", and never contain any part of the URL, which
// may hold passwords.
func Parse(text string) (Deployment, error) {
	scheme, ok := schemes[schemeOf(text)]
	if !ok {
		return Deployment{}, errors.New("must be " + ClusterForm + " or " + SentinelForm)
	}
	form, port := SentinelForm, sentinelPort
	if scheme.cluster {
		form, port = ClusterForm, clusterPort
	}
	malformed := errors.New("must be " + form + "; user and password must be percent-encoded (@ is %40, # is %23, / is %2F)")

	_, rest, _ := strings.Cut(text, "://")
	if strings.Contains(rest, "#") {
		return Deployment{}, malformed
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	d := Deployment{TLS: scheme.tls}
	hosts := authority
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		hosts = authority[at+1:]
		if !d.setUser(authority[:at]) {
			return Deployment{}, malformed
		}
	}
	if !d.setAddrs(hosts, port) {
		return Deployment{}, malformed
	}
	if scheme.cluster {
		if path != "" && path != "0" {
			return Deployment{}, errors.New("must be " + form + ": a cluster has no database numbers")
		}
	} else if !d.setMaster(path) {
		return Deployment{}, malformed
	}
	if err := d.setParameters(query, scheme.cluster); err != nil {
		return Deployment{}, err
	}
	return d, nil
}

func (d *Deployment) setUser(info string) bool {
	user, password, _ := strings.Cut(info, ":")
	var errs [2]error
	d.Username, errs[0] = url.PathUnescape(user)
	d.Password, errs[1] = url.PathUnescape(password)
	return errors.Join(errs[:]...) == nil
}

func (d *Deployment) setAddrs(hosts, port string) bool {
	for host := range strings.SplitSeq(hosts, ",") {
		name, number, err := net.SplitHostPort(host)
		if err != nil { // no port
			name, number = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), port
		}
		isIPv6 := strings.HasPrefix(host, "[")
		if n, err := strconv.ParseUint(number, 10, 16); err != nil || n == 0 || name == "" {
			return false
		}
		if strings.ContainsAny(name, "[]@ ") || strings.Contains(name, ":") != isIPv6 {
			return false
		}
		d.Addrs = append(d.Addrs, net.JoinHostPort(name, number))
	}
	return true
}

func (d *Deployment) setMaster(path string) bool {
	name, number, _ := strings.Cut(strings.TrimSuffix(path, "/"), "/")
	master, err := url.PathUnescape(name)
	if err != nil || master == "" {
		return false
	}
	d.Master = master
	if number == "" {
		return true
	}
	n, err := strconv.ParseUint(number, 10, 16)
	d.DB = int(n)
	return err == nil
}

func (d *Deployment) setParameters(query string, cluster bool) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("has parameters after the ? that are not percent-encoded")
	}
	for name, value := range values {
		last := value[len(value)-1]
		switch {
		case name == "sentinel_username" && !cluster:
			d.SentinelUsername = last
		case name == "sentinel_password" && !cluster:
			d.SentinelPassword = last
		case name == "tls_server_name" && d.TLS:
			d.ServerName = last
		case name == "skip_verify" && d.TLS:
			if d.SkipVerify, err = strconv.ParseBool(last); err != nil {
				return errors.New("has a parameter skip_verify that is neither true nor false")
			}
		default:
			return errors.New("has an unknown parameter after the ?: there are sentinel_username and sentinel_password " +
				"for Sentinels, and tls_server_name and skip_verify for TLS")
		}
	}
	return nil
}

// Secrets returns the passwords of a URL, as they are and as they may be written, so that logs can be kept free of them.
func Secrets(text string) []string {
	d, err := Parse(text)
	if err != nil {
		return nil
	}
	var secrets []string
	for _, password := range []string{d.Password, d.SentinelPassword} {
		if password != "" {
			secrets = append(secrets, password, url.QueryEscape(password), url.PathEscape(password))
		}
	}
	_, rest, _ := strings.Cut(text, "://")
	rest, query, _ := strings.Cut(rest, "?")
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		_, written, _ := strings.Cut(rest[:at], ":")
		secrets = append(secrets, written)
	}
	for parameter := range strings.SplitSeq(query, "&") {
		if written, ok := strings.CutPrefix(parameter, "sentinel_password="); ok {
			secrets = append(secrets, written)
		}
	}
	slices.Sort(secrets)
	secrets = slices.Compact(secrets)
	return slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
}
