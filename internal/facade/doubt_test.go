package facade_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/submit"
)

// unheard has mails written, or not, without telling.
type unheard struct{ facade.Submission }

func (unheard) Enqueue(context.Context, campaign.Submission) (submit.Queued, error) {
	return submit.Queued{}, fmt.Errorf("%w: %w", campaign.ErrUncertain, errAway)
}

func (unheard) Send(context.Context, campaign.Submission) (submit.Sent, error) {
	return submit.Sent{}, fmt.Errorf("%w: %w", submit.ErrUnknown, errAway)
}

// deaf is a ledger that went away when it was asked to seal.
type deaf struct {
	campaign.Ledger

	asked *bool
}

func (d deaf) Discard(context.Context, string) error { return errAway }

func (d deaf) Campaign(ctx context.Context, key string) (campaign.Record, error) {
	if *d.asked {
		return campaign.Record{}, errAway
	}
	return d.Ledger.Campaign(ctx, key)
}

// TestWhatNobodyKnows: a request that may have been carried out is answered so. With a key the client is told to make it again;
// without one it is not.
func TestWhatNobodyKnows(t *testing.T) {
	t.Parallel()
	keyed := reply{http.StatusServiceUnavailable, headers("Retry-After", "5"), `{"ok":false,"error":"the database did not say whether the ` +
		`request was carried out: make it again with the same Idempotency-Key","inDoubt":true}`}
	keyless := reply{http.StatusInternalServerError, headers(), `{"ok":false,"error":"the database did not say whether the request was ` +
		`carried out: it may be, and made again it may be sent twice","inDoubt":true}`}
	away := reply{http.StatusServiceUnavailable, headers("Retry-After", "5"), `{"ok":false,"error":"the database is not available: try again later"}`}
	unread := reply{
		http.StatusInternalServerError, headers(),
		`{"ok":false,"error":"the mail may have been sent, and its outcome can't be read at present","inDoubt":true}`,
	}
	const mail = `{"to":"ada@example.com","subject":"Hi","body":"text"}`
	uncertain := fmt.Errorf("%w: %w", campaign.ErrUncertain, errAway)
	for name, test := range map[string]struct {
		path, body, key string
		seal            error
		want            reply
	}{
		"a mail":                     {"/send_async", mail, "", nil, keyless},
		"a mail with a key":          {"/send_async", mail, "k", nil, keyed},
		"a mail that is waited for":  {"/send", mail, "", nil, unread},
		"a campaign":                 {"/send-campaign", small, "", uncertain, keyless},
		"a campaign with a key":      {"/send-campaign", small, "k", uncertain, keyed},
		"a campaign, surely not":     {"/send-campaign", small, "", errAway, away},
		"with a key, surely not yet": {"/send-campaign", small, "k", errAway, away},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := false
			f := newFixture(t, func(cfg *facade.Config) {
				cfg.Submission, cfg.Ledger = unheard{}, deaf{cfg.Ledger, &asked}
			})
			f.ledger.seal = func(campaign.Record, error) (campaign.Record, error) {
				asked = true
				return campaign.Record{}, test.seal
			}
			r := post(strings.NewReader(test.body))
			r.URL.Path = test.path
			if test.key != "" {
				r.Header.Set(facade.IdempotencyKeyHeader, test.key)
			}
			if diff := cmp.Diff(test.want, f.do(r)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}
