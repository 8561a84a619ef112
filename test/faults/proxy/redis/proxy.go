package redis

import (
	"crypto/sha1"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/test/faults/proxy"
)

// Request is a command.
type Request struct {
	// Name is the command in capitals, Args what comes behind it.
	Name string
	Args []string
}

// Rule is that of package proxy. The reply is an error, without the minus sign.
type Rule = proxy.Rule[Request, string]

// Armed is that of package proxy.
type Armed = proxy.Armed[Request, string]

// What a Redis answers that can't serve.
const (
	Loading     = "LOADING Redis is loading the dataset in memory"
	ReadOnly    = "READONLY You can't write against a read only replica."
	OutOfMemory = "OOM command not allowed when used memory > 'maxmemory'."
	NoScript    = "NOSCRIPT No matching script. Please use EVAL."
	MasterDown  = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
	Moved       = "MOVED 3999 127.0.0.1:6381"
	Misconf     = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."
)

// Command matches commands by name.
func Command(names ...string) func(Request) bool {
	return func(r Request) bool { return slices.Contains(names, r.Name) }
}

// Script matches runs of a script, by its text or by its digest.
func Script(source string) func(Request) bool {
	sum := sha1.Sum([]byte(source))
	digest := hex.EncodeToString(sum[:])
	return func(r Request) bool {
		if len(r.Args) == 0 {
			return false
		}
		return r.Name == "EVAL" && r.Args[0] == source || r.Name == "EVALSHA" && strings.EqualFold(r.Args[0], digest)
	}
}

// ByDigest matches runs of any script by its digest.
func ByDigest(r Request) bool { return r.Name == "EVALSHA" }

// Asks matches every command that clients send of their own accord, and none by which they introduce themselves.
func Asks(r Request) bool {
	return !slices.Contains([]string{"HELLO", "AUTH", "SELECT", "CLIENT", "QUIT"}, r.Name)
}

// Proxy stands before one server.
type Proxy struct {
	proxy.Rules[Request, string]
	*proxy.Listener

	tb     testing.TB
	target string
}

// New returns a proxy before the server at target, host:port, that lives as long as the test.
func New(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p := &Proxy{tb: tb, target: target}
	p.Listener = proxy.Listen(tb, p.carry)
	tb.Cleanup(p.DisarmAll)
	return p
}

// Before returns a proxy before the server that a redis:// URL names, and the URL that goes through it.
func Before(tb testing.TB, serverURL string) (*Proxy, string) {
	tb.Helper()
	u, err := url.Parse(serverURL)
	if err != nil || u.Scheme != "redis" {
		tb.Fatal("the URL of Redis is not one that a proxy can stand before")
	}
	p := New(tb, u.Host)
	u.Host = p.Addr()
	return p, u.String()
}
