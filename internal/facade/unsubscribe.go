package facade

import (
	"context"
	"errors"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// Links reads the tokens of links at which recipients unsubscribe. *unsubscribe.Links is one.
type Links interface {
	// Parse returns the id of the recipient whom the token was made for, or an error if nobody's.
	Parse(token string) (recipientID string, err error)
}

// Unsubscriber takes recipients off the lists that they were mailed from. campaign.Suppressions has it.
type Unsubscriber interface {
	// Unsubscribe puts the recipient's address on the suppression list; campaign.ErrNotFound if there is no such recipient.
	Unsubscribe(ctx context.Context, recipientID string, now time.Time) error
}

const (
	// unsubscribeRate and unsubscribeBurst bound the unsubscribing of everybody together: mailbox providers send the clicks
	// of all their users from a few addresses, and many at once behind a campaign.
	unsubscribeRate  = 200
	unsubscribeBurst = 5000
	// unsubscribeSlots bound the transactions at once, unsubscribePatience how long one may wait for its turn and take.
	unsubscribeSlots    = 8
	unsubscribePatience = 20 * time.Second
)

// unsubscribing is what stands behind /unsubscribe/.
type unsubscribing struct {
	f     *facade
	pages map[string]pages // by language
	// badLinks slows down who sends links that are none; valid ones are let in whatever came from their address before.
	badLinks *door
	rate     *rate.Limiter
	slots    chan struct{}
}

// registerUnsubscribing serves the links: with GET a page that does nothing, with POST what RFC 8058 section 3.2 asks for,
// for everybody who holds one, without key, cookie or redirection.
func (f *facade) registerUnsubscribing() {
	u := &unsubscribing{
		f: f, pages: renderPages(), badLinks: newDoor(),
		rate: rate.NewLimiter(unsubscribeRate, unsubscribeBurst), slots: make(chan struct{}, unsubscribeSlots),
	}
	f.open("GET /unsubscribe/{token}", u.ask)
	f.open("POST /unsubscribe/{token}", u.act)
}

// ask is the same for each token, be it one or not: programs that follow the links of mails find a page that asks.
func (u *unsubscribing) ask(w http.ResponseWriter, r *http.Request) {
	u.show(w, r, http.StatusOK, func(p pages) []byte { return p.ask })
}

// act unsubscribes. It looks at no body: RFC 8058 has one, and whoever presses the button in a mail program that leaves it
// out means the same.
func (u *unsubscribing) act(w http.ResponseWriter, r *http.Request) {
	now := u.f.Now()
	id, err := u.f.Links.Parse(r.PathValue("token"))
	if err != nil {
		if wait := u.badLinks.knock(r.RemoteAddr, now); wait > 0 {
			u.refuse(w, r, http.StatusTooManyRequests, wait)
			return
		}
		u.unknown(w, r)
		return
	}
	if wait := take(u.rate, now); wait > 0 {
		u.refuse(w, r, http.StatusTooManyRequests, wait)
		return
	}
	switch err := u.unsubscribe(r.Context(), id, now); {
	case err == nil:
		u.show(w, r, http.StatusOK, func(p pages) []byte { return p.done })
	case errors.Is(err, campaign.ErrNotFound):
		u.unknown(w, r)
	default:
		u.f.Logger.ErrorContext(r.Context(), "A recipient could not be unsubscribed", "error", err, "requestId", requestID(r.Context()))
		u.refuse(w, r, http.StatusServiceUnavailable, unsubscribePatience)
	}
}

// unsubscribe waits for its turn, and unsubscribes.
func (u *unsubscribing) unsubscribe(ctx context.Context, id string, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, unsubscribePatience)
	defer cancel()
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return u.f.Unsubscriber.Unsubscribe(ctx, id, now)
}

// unknown is the same for a token that is none, and for one whose recipient is gone.
func (u *unsubscribing) unknown(w http.ResponseWriter, r *http.Request) {
	u.show(w, r, http.StatusNotFound, func(p pages) []byte { return p.unknown })
}

// refuse asks to come again after this wait.
func (u *unsubscribing) refuse(w http.ResponseWriter, r *http.Request, status int, wait time.Duration) {
	w.Header().Set("Retry-After", seconds(wait))
	u.show(w, r, status, func(p pages) []byte { return p.busy })
}

func (u *unsubscribing) show(w http.ResponseWriter, r *http.Request, status int, choose func(pages) []byte) {
	language := preferred(r.Header.Get("Accept-Language"))
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Language", language)
	header.Set("Vary", "Accept-Language")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("Referrer-Policy", "no-referrer") // the URL is a key
	header.Set("X-Frame-Options", "DENY")
	header.Set("X-Robots-Tag", "noindex, nofollow")
	w.WriteHeader(status)
	_, _ = w.Write(choose(u.pages[language])) // whoever asked has gone away
}
