package facade

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/cartero-mail/cartero/internal/mail"
)

// Policy is what the holders of some keys may do. What it does not bound is not bounded.
type Policy struct {
	// Name says whose the keys are. It is in the access log.
	Name string
	// Keys are some of Config.Keys. No key has two policies.
	Keys []string
	// Requests is how many requests the keys may make together in each span Per; 0 means any number.
	Requests int
	Per      time.Duration
	// Senders are the domains that they may send from: example.com, or *.example.com for all below it. None means any.
	Senders []string
}

// caller is whoever holds a key.
type caller struct {
	// name is the policy's; empty without one.
	name    string
	limiter *rate.Limiter // nil for no limit
	senders []string
}

// keySet holds the SHA-256 of each key: sums are equally long, so that comparing them tells nothing of a key's length.
type keySet struct {
	sums    [][sha256.Size]byte
	callers []*caller
}

// newKeySet reports what is wrong with the policies; the keys are known to be right.
func newKeySet(keys []string, policies []Policy) (keySet, error) {
	set := keySet{sums: make([][sha256.Size]byte, len(keys)), callers: make([]*caller, len(keys))}
	for i, key := range keys {
		set.sums[i], set.callers[i] = sha256.Sum256([]byte(key)), &caller{}
	}
	governed := map[string]bool{}
	for _, p := range policies {
		if p.Requests < 0 || p.Requests > 0 && p.Per <= 0 {
			return keySet{}, fmt.Errorf("facade: policy %q: Requests and Per must be positive", p.Name)
		}
		c := &caller{name: p.Name, senders: p.Senders}
		if p.Requests > 0 {
			c.limiter = rate.NewLimiter(rate.Limit(float64(p.Requests)/p.Per.Seconds()), p.Requests)
		}
		for _, key := range p.Keys {
			i := slices.Index(keys, key)
			if i < 0 || governed[key] {
				return keySet{}, fmt.Errorf("facade: policy %q has a key that is unknown, or that another policy has", p.Name)
			}
			governed[key], set.callers[i] = true, c
		}
	}
	return set, nil
}

// find returns the position of the key, -1 for a wrong one. It compares with every key, whichever matches, in the same
// time.
func (s keySet) find(key string) int {
	sum := sha256.Sum256([]byte(key))
	found := -1
	for i := range s.sums {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(s.sums[i][:], sum[:]), i, found)
	}
	return found
}

// id names a key without telling it.
func (s keySet) id(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

// authenticated lets in who holds a key, at the rate that the key allows. It answers a missing and a wrong key alike.
func (f *facade) authenticated(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		now := f.Now()
		position := f.keys.find(r.Header.Get("X-API-Key"))
		if position < 0 {
			hurry(w)
			if wait := f.door.knock(r.RemoteAddr, now); wait > 0 {
				w.Header().Set("Connection", "close")
				w.Header().Set("Retry-After", seconds(wait))
			}
			w.Header().Set("WWW-Authenticate", "APIKey")
			answer(w, http.StatusUnauthorized, failure{Error: "missing or wrong X-API-Key"})
			return
		}
		who := f.keys.callers[position]
		if seen := observed(r.Context()); seen != nil {
			seen.caller = who
		}
		if wait := take(who.limiter, now); wait > 0 {
			tooMany(w, wait, "this key has used up its rate of requests: try again later")
			return
		}
		next(w, r)
	}
}

// mayUse returns the refusal of a sender that the caller's key may not use, and nil for one that it may.
func (f *facade) mayUse(ctx context.Context, from mail.Address) error {
	seen := observed(ctx)
	if seen == nil || seen.caller == nil || seen.caller.maySendFrom(from.Address) {
		return nil
	}
	return &apiError{
		failure: failure{Error: "this key may not send from the domain of this sender"}, status: http.StatusForbidden,
	}
}

// refused answers with the error of mayUse, if there is one.
func refused(w http.ResponseWriter, err error) bool {
	var e *apiError
	if !errors.As(err, &e) {
		return false
	}
	answer(w, e.status, e.failure)
	return true
}

func (c *caller) maySendFrom(address string) bool {
	_, domain, _ := strings.Cut(address, "@") // quoted local parts are refused before
	domain = strings.ToLower(domain)
	return len(c.senders) == 0 || slices.ContainsFunc(c.senders, func(allowed string) bool {
		if parent, below := strings.CutPrefix(allowed, "*"); below {
			return strings.HasSuffix(domain, parent)
		}
		return domain == allowed
	})
}
