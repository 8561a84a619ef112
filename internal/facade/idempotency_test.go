package facade_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
)

// once is small with an Idempotency-Key.
func once(body string) *http.Request {
	r := post(strings.NewReader(body))
	r.Header.Set("Idempotency-Key", "spring-2026")
	return r
}

// other has another subject than small.
var other = strings.Replace(small, "Hi", "Hello", 1)

// reused is the answer to a key that was used for another body.
func reused(more ...string) reply {
	return reply{http.StatusUnprocessableEntity, headers(more...), `{"ok":false,"error":"Idempotency-Key: was used for another request before",` +
		`"detail":[{"loc":["header","Idempotency-Key"],"msg":"was used for another request before","type":"value_error"}]}`}
}

// onceKey is the key of the campaign of once: it is derived from the API key, the call and the Idempotency-Key alone.
func (f *fixture) onceKey() string {
	f.t.Helper()
	if len(f.bell.keys) == 0 {
		f.t.Fatal("nothing was rung")
	}
	return f.bell.keys[0]
}

// acceptedOnce is the answer to once.
func acceptedOnce(key string, more ...string) reply {
	first := campaign.JobID(key, 0)
	return reply{http.StatusAccepted, headers(append([]string{"Location", "/jobs/" + first}, more...)...), fmt.Sprintf(
		`{"ok":true,"jobId":"%s","jobIds":["%[1]s","%s"],"accepted":4,"duplicates":0,"invalid":0,"queued":true}`, first, campaign.JobID(key, 1))}
}

// is compares answers but for the request's id, which tells nothing here.
func (f *fixture) is(what string, want, got reply) {
	f.t.Helper()
	delete(want.Header, "X-Request-Id")
	delete(got.Header, "X-Request-Id")
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// whole fails the test unless the campaign is sealed with everybody of small, once.
func (f *fixture) whole(key string) {
	f.t.Helper()
	record, err := f.store.Campaign(f.t.Context(), key)
	if err != nil || !record.Sealed() {
		f.t.Fatalf("the campaign is not sealed: %v", err)
	}
	var got []string
	for shard := range record.Totals.Jobs {
		reports, err := f.store.RecipientReports(f.t.Context(), campaign.JobID(key, shard), "", 100)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, r := range reports {
			got = append(got, r.Address+" "+string(r.State))
		}
	}
	want := []string{"a@example.com pending", "b@example.com pending", "c@example.com pending", "d@example.com pending"}
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("recipients (-want +got):\n%s", diff)
	}
}

func TestIdempotentCampaign(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	got := f.do(once(small))
	f.is("the first", acceptedOnce(f.onceKey()), got)
	again := acceptedOnce(f.onceKey(), "Idempotent-Replayed", "true")
	f.is("the same again", again, f.do(once(small)))
	f.is("another body", reused(), f.do(once(other)))
	f.is("another list", reused(), f.do(once(strings.Replace(small, "d@", "e@", 1))))
	f.whole(f.onceKey())

	for name, change := range map[string]func(*facade.Config){
		"another process":                          func(*facade.Config) {},
		"another version, with jobs of other size": func(cfg *facade.Config) { cfg.JobSize = 100 },
	} {
		f.is(name, again, newFixtureOn(t, f.store, change).do(once(small)))
	}
	f.waiting = 100
	f.is("the same while the queue is full", again, f.do(once(small)))
	full := f.do(post(strings.NewReader(small)))
	if full.Status != http.StatusServiceUnavailable {
		t.Errorf("a new one while the queue is full: %d", full.Status)
	}
	f.waiting = 0

	foreign := once(small)
	foreign.Header.Set("X-API-Key", "another-key")
	if got := f.do(foreign); got.Status != http.StatusAccepted || got.Header["Location"] == again.Header["Location"] {
		t.Errorf("the holder of another key got %d %s", got.Status, got.Header["Location"])
	}
	unkeyed := f.do(post(strings.NewReader(small)))
	if unkeyed.Status != http.StatusAccepted || unkeyed.Header["Location"] == again.Header["Location"] {
		t.Errorf("without a key: %d %s", unkeyed.Status, unkeyed.Header["Location"])
	}
}

func TestIdempotencyKeyIsChecked(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	want := reply{http.StatusUnprocessableEntity, headers(), `{"ok":false,"error":"Idempotency-Key: must be 1 to 255 visible ASCII characters",` +
		`"detail":[{"loc":["header","Idempotency-Key"],"msg":"must be 1 to 255 visible ASCII characters","type":"value_error"}]}`}
	for _, value := range []string{"a b", "\x7f", "ä", strings.Repeat("x", 256)} {
		r := once(small)
		r.Header["Idempotency-Key"] = []string{value}
		f.is(value, want, f.do(r))
	}
	f.nothingLeft()
}

func TestIdempotentCampaignInFlight(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var during []reply
	f.ledger.beforeOpen = func() {
		f.ledger.beforeOpen = nil
		during = append(during, f.do(once(small)), f.do(once(other)))
	}
	got := f.do(once(small))
	f.is("the first", acceptedOnce(f.onceKey()), got)
	for _, got := range during {
		f.is("meanwhile", problemReply(http.StatusConflict, "a request with the same Idempotency-Key is being worked on", "Retry-After", "5"), got)
	}
	f.is("afterwards", acceptedOnce(f.onceKey(), "Idempotent-Replayed", "true"), f.do(once(small)))
}

// atSecond has something happen instead of writing the second job.
func atSecond(do func(next func() error) error) func(func(context.Context, campaign.Shard) error, context.Context, campaign.Shard) error {
	return func(next func(context.Context, campaign.Shard) error, ctx context.Context, shard campaign.Shard) error {
		if shard.Number != 1 {
			return next(ctx, shard)
		}
		return do(func() error { return next(ctx, shard) })
	}
}

// TestIdempotentCampaignIsResumed: what stopped half-way is completed by the same request, whoever gets it.
func TestIdempotentCampaignIsResumed(t *testing.T) {
	t.Parallel()
	away := reply{http.StatusServiceUnavailable, headers("Retry-After", "5"), `{"ok":false,"error":"the database is not available: try again later"}`}
	broken := reply{http.StatusInternalServerError, headers(), `{"ok":false,"error":"internal error"}`}
	for name, test := range map[string]struct {
		stop func(func() error) error
		want reply
	}{
		"the process died":      {func(func() error) error { panic("as good as dead") }, broken},
		"the database was away": {func(func() error) error { return errAway }, away},
		"a fault":               {func(func() error) error { return errors.New("no such column") }, broken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.ledger.writeShard = atSecond(test.stop)
			f.is("the first", test.want, f.do(once(small)))
			if due, err := f.store.DueJobs(t.Context(), "", at, at, 10); err != nil || len(due) > 0 {
				t.Errorf("jobs of an unsealed campaign are due: %v, %v", due, err)
			}
			next := newFixtureOn(t, f.store)
			next.is("another body", reused(), next.do(once(other)))
			got := next.do(once(small))
			next.is("the same", acceptedOnce(next.onceKey()), got)
			next.whole(next.onceKey())
		})
	}
}

// TestIdempotentCampaignOfTwins: the same request reaches two processes at once, and neither ruins what the other does.
func TestIdempotentCampaignOfTwins(t *testing.T) {
	t.Parallel()
	t.Run("both get through", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		twin := newFixtureOn(t, f.store)
		var got reply
		f.ledger.writeShard = atSecond(func(next func() error) error {
			got = twin.do(once(small))
			return next()
		})
		mine := f.do(once(small))
		twin.is("the twin, which was faster", acceptedOnce(twin.onceKey()), got)
		f.is("the first", acceptedOnce(twin.onceKey()), mine)
		f.whole(twin.onceKey())
	})
	t.Run("one fails", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		twin := newFixtureOn(t, f.store)
		twin.ledger.writeShard = atSecond(func(func() error) error { return errAway })
		f.ledger.writeShard = atSecond(func(next func() error) error {
			if got := twin.do(once(small)); got.Status != http.StatusServiceUnavailable {
				t.Errorf("the twin got %d %s", got.Status, got.Body)
			}
			return next()
		})
		got := f.do(once(small))
		f.is("the other", acceptedOnce(f.onceKey()), got)
		f.whole(f.onceKey())
	})
	t.Run("one has another body", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		twin := newFixtureOn(t, f.store)
		f.ledger.writeShard = atSecond(func(next func() error) error {
			twin.is("the twin", reused(), twin.do(once(other)))
			return next()
		})
		got := f.do(once(small))
		f.is("the other", acceptedOnce(f.onceKey()), got)
		f.whole(f.onceKey())
	})
}

func TestIdempotentCampaignWithoutItsClient(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, leave := context.WithCancel(t.Context())
	f.ledger.writeShard = atSecond(func(next func() error) error {
		leave()
		return next()
	})
	f.do(once(small).WithContext(ctx))
	f.whole(f.onceKey())
	f.is("asked again", acceptedOnce(f.onceKey(), "Idempotent-Replayed", "true"), f.do(once(small)))
}

func TestIdempotentCampaignWhoseSealWasNotHeardOf(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ledger.seal = func(campaign.Record, error) (campaign.Record, error) { return campaign.Record{}, errAway }
	got := f.do(once(small))
	f.is("the answer", acceptedOnce(f.onceKey()), got)
	f.whole(f.onceKey())
}

// TestIdempotentCampaignThatDidNotFit: a request that was refused used up nothing.
func TestIdempotentCampaignThatDidNotFit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, list := range []string{`[]`, `["nobody"]`, `[{"email":"a@example.com","name":"` + strings.Repeat("x", 1<<20) + `"}]`} {
		got := f.do(once(`{"subject":"Hi","body":"text","recipients":` + list + `}`))
		if got.Status != http.StatusUnprocessableEntity {
			t.Errorf("%.40s: %d %s", list, got.Status, got.Body)
		}
	}
	got := f.do(once(small))
	f.is("the right one", acceptedOnce(f.onceKey()), got)
}

func TestIdempotentCampaignCancelledHalfWay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ledger.writeShard = func(next func(context.Context, campaign.Shard) error, ctx context.Context, shard campaign.Shard) error {
		// Shards are written side by side: the first one that is refused ends ctx for the others.
		if err := f.store.Cancel(context.WithoutCancel(ctx), shard.Key, campaign.EndCancelled, at); err != nil {
			t.Error(err)
		}
		return next(ctx, shard)
	}
	f.is("the answer", problemReply(http.StatusConflict, "the campaign of this Idempotency-Key was cancelled"), f.do(once(small)))
	if len(f.bell.keys) > 0 {
		t.Errorf("rung: %q", f.bell.keys)
	}
}
