package mysql

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/test/faults/proxy"
)

// Kind is what a request asks for.
type Kind string

// The kinds.
const (
	// Connect is a new connection, before the server has seen it.
	Connect Kind = "connect"
	// Query is a statement in text.
	Query Kind = "query"
	// Prepare and Execute are of a statement with its values apart; both have its text.
	Prepare Kind = "prepare"
	Execute Kind = "execute"
	// Other is any other command, such as a ping.
	Other Kind = "other"
)

// Request is what a client asks for.
type Request struct {
	Kind Kind
	// Text is the statement; empty for kinds without one.
	Text string
	// Transaction has the statements of the open transaction before this one, without its begin.
	Transaction []string
}

// Rule is that of package proxy.
type Rule = proxy.Rule[Request, Error]

// Armed is that of package proxy.
type Armed = proxy.Armed[Request, Error]

// Statement matches statements that are carried out, in text or prepared.
func Statement(pattern string) func(Request) bool {
	re := regexp.MustCompile(pattern)
	return func(r Request) bool { return (r.Kind == Query || r.Kind == Execute) && re.MatchString(r.Text) }
}

// CommitOf matches the COMMIT of a transaction with such a statement in it.
func CommitOf(pattern string) func(Request) bool {
	re := regexp.MustCompile(pattern)
	return func(r Request) bool {
		if r.Kind != Query || !strings.EqualFold(r.Text, "COMMIT") {
			return false
		}
		return slices.ContainsFunc(r.Transaction, re.MatchString)
	}
}

// Connection matches new connections. They can be held, cut, swallowed and answered, not lost.
func Connection(r Request) bool { return r.Kind == Connect }

// Proxy stands before one server.
type Proxy struct {
	proxy.Rules[Request, Error]
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

// Before returns a proxy before the server that a mysql:// URL names, and the URL that goes through it.
func Before(tb testing.TB, serverURL string) (*Proxy, string) {
	tb.Helper()
	u, err := url.Parse(serverURL)
	if err != nil {
		tb.Fatal("the URL of the database is not one")
	}
	p := New(tb, u.Host)
	u.Host = p.Addr()
	return p, u.String()
}
