package facade_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/submit"
)

// clock is a clock that the test moves.
type clock struct{ passed atomic.Int64 }

func (c *clock) now() time.Time          { return at.Add(time.Duration(c.passed.Load())) }
func (c *clock) advance(d time.Duration) { c.passed.Add(int64(d)) }
func (c *clock) use(cfg *facade.Config)  { cfg.Now = c.now }

// ask asks for a job that is not there, with this key, from this address, and returns the status, or waits.
func (f *fixture) ask(key, remote string) int {
	f.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/jobs/x", nil)
	r.RemoteAddr = remote
	r.Header.Set("X-API-Key", key)
	got := f.do(r)
	if got.Header["Retry-After"] != "" {
		return waits
	}
	return got.Status
}

// askTimes are the answers to n such questions.
func (f *fixture) askTimes(n int, key, remote string) []int {
	f.t.Helper()
	all := make([]int, n)
	for i := range all {
		all[i] = f.ask(key, remote)
	}
	return all
}

func times(n, status int, more ...int) []int {
	all := make([]int, n, n+len(more))
	for i := range all {
		all[i] = status
	}
	return append(all, more...)
}

// The answers to a key that is right, and wrong. 404: there is no such job. One who has to wait is told when.
const right, wrong, waits = http.StatusNotFound, http.StatusUnauthorized, -1

const wrongKeys = 10 // that one address may show at once

func TestWrongKeysAreSlowedDown(t *testing.T) {
	t.Parallel()
	const one, other = "198.51.100.1:1000", "198.51.100.2:1000"
	var c clock
	f := newFixture(t, c.use)
	check := func(what string, want, got []int) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("a program that was there before", times(1, right), f.askTimes(1, "another-key", one))
	check("wrong keys, the port changing", append(times(wrongKeys-1, wrong), wrong, waits),
		append(f.askTimes(wrongKeys-1, "guess", one), f.ask("", "198.51.100.1:1001"), f.ask("guess", "198.51.100.1:1002")))
	check("a right key goes on from the same address", times(2, right), []int{f.ask(key, one), f.ask("another-key", one)})
	check("other addresses go on", times(1, right, wrong), []int{f.ask(key, other), f.ask("guess", other)})

	r := get("/jobs/x")
	r.RemoteAddr = one
	r.Header.Set("X-API-Key", "guess")
	want := problemReply(wrong, "missing or wrong X-API-Key", "Connection", "close", "Retry-After", "6", "Www-Authenticate", "APIKey", "X-Request-Id", "")
	got := f.do(r)
	got.Header["X-Request-Id"] = ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	c.advance(6 * time.Second)
	check("one more after the pause", []int{wrong, waits}, f.askTimes(2, "guess", one))
}

// TestWrongKeysOfANetwork: a network of IPv6 is one host, an address of IPv4 in IPv6's form is that of IPv4, and what is no
// address is one host too.
func TestWrongKeysOfANetwork(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, first, second string
		want                int
	}{
		{"of 64 bits", "[2001:db8::1]:1", "[2001:db8::ffff:1]:2", waits},
		{"another of 64 bits", "[2001:db8::1]:1", "[2001:db8:0:1::1]:2", wrong},
		{"with a zone", "[fe80::1%eth0]:1", "[fe80::1%eth1]:1", waits},
		{"IPv4 in IPv6", "192.0.2.7:1", "[::ffff:192.0.2.7]:1", waits},
		{"another of IPv4", "192.0.2.7:1", "192.0.2.8:1", wrong},
		{"none", "@", "pipe", waits},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.askTimes(wrongKeys, "guess", tt.first)
			if got := f.ask("guess", tt.second); got != tt.want {
				t.Errorf("answer %d, want %d", got, tt.want)
			}
		})
	}
}

func TestRateOfAKey(t *testing.T) {
	t.Parallel()
	var c clock
	f := newFixture(t, c.use, func(cfg *facade.Config) {
		cfg.Keys = []string{"old", "new", "free", key}
		cfg.Policies = []facade.Policy{
			{Name: "app", Keys: []string{"old", "new"}, Requests: 3, Per: time.Minute},
			{Name: "free", Keys: []string{"free"}},
		}
	})
	const from = "198.51.100.1:1000"
	got := []int{f.ask("old", from), f.ask("new", from), f.ask("old", from), f.ask("old", from), f.ask("new", from), f.ask("free", from), f.ask(key, from)}
	want := []int{right, right, right, waits, waits, right, right}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("both keys of a program share its rate (-want +got):\n%s", diff)
	}
	c.advance(5 * time.Second)
	r := get("/jobs/x")
	r.Header.Set("X-API-Key", "new")
	answer := f.do(r)
	answer.Header["X-Request-Id"] = ""
	wantAnswer := problemReply(http.StatusTooManyRequests, "this key has used up its rate of requests: try again later", "Retry-After", "15", "X-Request-Id", "")
	if diff := cmp.Diff(wantAnswer, answer); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	c.advance(15 * time.Second)
	if diff := cmp.Diff([]int{right, waits}, f.askTimes(2, "old", from)); diff != "" {
		t.Errorf("a third of the minute gives one more (-want +got):\n%s", diff)
	}
	c.advance(time.Hour)
	if diff := cmp.Diff(times(3, right, waits), f.askTimes(4, "old", from)); diff != "" {
		t.Errorf("what is not used is kept for one span (-want +got):\n%s", diff)
	}
}

func TestSendersOfAKey(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, from string
		senders    []string
		allowed    bool
	}{
		{"any", "News <a@anything.example>", nil, true},
		{"the domain", "a@shop.example", []string{"example.com", "shop.example"}, true},
		{"in another case", "a@SHOP.example", []string{"shop.example"}, true},
		{"another", "a@shop.example", []string{"example.com"}, false},
		{"one above", "a@example.com", []string{"*.example.com"}, false},
		{"one below", "a@mail.example.com", []string{"*.example.com"}, true},
		{"one below, exactly", "a@mail.example.com", []string{"example.com"}, false},
		{"one that ends alike", "a@notexample.com", []string{"*.example.com", "example.com"}, false},
		{"U-label", "a@münchen.example", []string{"xn--mnchen-3ya.example"}, true},
		{"a domain in the name", `"a@example.com" <a@evil.example>`, []string{"example.com"}, false},
		{"the server's own, allowed", "", []string{"example.com"}, true},
		{"the server's own, not allowed", "", []string{"shop.example"}, false},
	}
	const mail = `"subject":"Hi","body":"text"`
	bodies := map[string]string{
		"/send": `{"to":"ada@example.com",` + mail, "/send_async": `{"to":["ada@example.com"],` + mail,
		"/send-campaign": `{"recipients":["ada@example.com"],` + mail,
	}
	allowed := map[string]int{"/send": http.StatusServiceUnavailable, "/send_async": http.StatusAccepted, "/send-campaign": http.StatusAccepted}
	for _, tt := range tests {
		for path, body := range bodies {
			t.Run(tt.name+path, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, func(cfg *facade.Config) {
					cfg.Policies = []facade.Policy{{Name: "app", Keys: []string{key}, Senders: tt.senders}}
				})
				if tt.from != "" {
					body += fmt.Sprintf(`,"from":%q`, tt.from)
				}
				r := post(strings.NewReader(body + "}"))
				r.URL.Path = path
				got := f.do(r)
				if tt.allowed {
					if got.Status != allowed[path] { // there is no relay to /send with
						t.Errorf("answer %d: %s", got.Status, got.Body)
					}
					return
				}
				want := problemReply(http.StatusForbidden, "this key may not send from the domain of this sender")
				if diff := cmp.Diff(want.Body, got.Body); diff != "" || got.Status != want.Status {
					t.Errorf("answer %d (-want +got):\n%s", got.Status, diff)
				}
				f.nothingLeft()
			})
		}
	}
}

func TestPoliciesAreChecked(t *testing.T) {
	t.Parallel()
	const keys = `facade: policy "p" has a key that is unknown, or that another policy has`
	tests := []struct {
		policy facade.Policy
		want   string
	}{
		{facade.Policy{Name: "p", Keys: []string{key}, Requests: 1}, `facade: policy "p": Requests and Per must be positive`},
		{facade.Policy{Name: "p", Keys: []string{"unknown"}}, keys},
		{facade.Policy{Name: "p", Keys: []string{key, key}}, keys},
	}
	for _, tt := range tests {
		_, err := facade.New(facade.Config{
			Ledger: &ledger{}, Jobs: jobsAway{}, Submission: &submit.Service{}, Doorbell: &bell{}, Keys: []string{key},
			Policies: []facade.Policy{tt.policy}, QueueLength: func(context.Context) (int64, error) { return 0, nil },
		})
		if err == nil || err.Error() != tt.want {
			t.Errorf("error %v, want %s", err, tt.want)
		}
	}
}
