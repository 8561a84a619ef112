package facade_test

import (
	"maps"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// TestIdempotentMails: a mail with an Idempotency-Key is one mail, however often, and wherever, it is asked for.
func TestIdempotentMails(t *testing.T) {
	t.Parallel()
	for path, status := range map[string]int{"/send": http.StatusOK, "/send_async": http.StatusAccepted} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			play(t, option{}, func(s *stage) {
				ask := func(f *fixture, body string) reply { return f.do(to(path, body, "Idempotency-Key", "k-1")) }
				one := mailTo(`"a@example.com"`)
				first := ask(s.fixture, one)
				if first.Status != status {
					t.Fatalf("%d %s", first.Status, first.Body)
				}
				again := first
				again.Header = maps.Clone(first.Header)
				again.Header["Idempotent-Replayed"] = "true"
				other := s.again(s.t, newMails(s.t, s.db.Store), nil)
				if path == "/send" {
					other = s.fixture // it has no relay
				}
				s.is("the same again", again, ask(s.fixture, one))
				s.is("the same of another process", again, ask(other, one))
				s.is("another body", reused(), ask(other, mailTo(`"b@example.com"`)))
				if got := s.do(to(path, one, "Idempotency-Key", "k-2")); got.Header["Location"] == first.Header["Location"] {
					t.Error("another key got the same job")
				}
				if got := s.do(to(path, one, "Idempotency-Key", "k 1")); got.Status != http.StatusUnprocessableEntity {
					t.Errorf("a wrong key: %d %s", got.Status, got.Body)
				}
				if n := s.count("Recipient"); n != 2 {
					t.Errorf("%d recipients, want 2", n)
				}
			})
		})
	}
}

// TestIdempotentFailure: the first answer is given again, also if it was a failure.
func TestIdempotentFailure(t *testing.T) {
	t.Parallel()
	play(t, option{}, func(s *stage) {
		s.relay.script["a@example.com"] = []step{unknownMailbox, accept}
		ask := func() reply { return s.do(to("/send", mailTo(`"a@example.com"`), "Idempotency-Key", "k-1")) }
		first, second := ask(), ask()
		if first.Status != http.StatusInternalServerError || second.Status != first.Status || second.Body != first.Body {
			t.Errorf("%d %s, then %d %s", first.Status, first.Body, second.Status, second.Body)
		}
		if got := s.relay.addressees(); len(got) > 0 {
			t.Errorf("sent to %q", got)
		}
	})
}

func TestIdempotentMailInFlight(t *testing.T) {
	t.Parallel()
	play(t, option{}, func(s *stage) {
		reached, release := make(chan struct{}), make(chan struct{})
		s.relay.script["a@example.com"] = []step{held(reached, release)}
		ask := func(body string) reply { return s.do(to("/send", body, "Idempotency-Key", "k-1")) }
		one := mailTo(`"a@example.com"`)
		first := make(chan reply)
		go func() { first <- ask(one) }()
		<-reached
		s.is("meanwhile", problemReply(http.StatusConflict, "a request with the same Idempotency-Key is being worked on", "Retry-After", "5"), ask(one))
		s.is("another body meanwhile", reused(), ask(mailTo(`"b@example.com"`)))
		close(release)
		if got := <-first; got.Status != http.StatusOK {
			t.Errorf("the first: %d %s", got.Status, got.Body)
		}
		if diff := cmp.Diff([]string{"a@example.com"}, s.relay.addressees()); diff != "" {
			t.Errorf("accepted by the relay (-want +got):\n%s", diff)
		}
	})
}

// TestSameKeyOfAnotherCall: an Idempotency-Key counts for one call of one API key's holder.
func TestSameKeyOfAnotherCall(t *testing.T) {
	t.Parallel()
	play(t, option{}, func(s *stage) {
		one := mailTo(`"a@example.com"`)
		requests := []*http.Request{
			to("/send", one, "Idempotency-Key", "k-1"), to("/send_async", one, "Idempotency-Key", "k-1"),
			to("/send", one, "Idempotency-Key", "k-1", "X-API-Key", "another-key"),
		}
		jobs := map[string]bool{}
		for _, r := range requests {
			got := s.do(r)
			if got.Header["Idempotent-Replayed"] != "" {
				t.Errorf("%d %s is a replay", got.Status, got.Body)
			}
			jobs[got.Header["Location"]] = true
		}
		if len(jobs) != len(requests) {
			t.Errorf("%d jobs of %d requests", len(jobs), len(requests))
		}
	})
}

// TestMailsShareAnIDWithNobody: without an Idempotency-Key each request is a mail of its own.
func TestMailsShareAnIDWithNobody(t *testing.T) {
	t.Parallel()
	play(t, option{}, func(s *stage) {
		for range 2 {
			s.do(to("/send", mailTo(`"a@example.com"`)))
		}
		if got := s.relay.addressees(); len(got) != 2 {
			t.Errorf("%d mails, want 2", len(got))
		}
		if campaign.JobID(campaignKey, 0) == campaign.JobID("http/id-4", 0) {
			t.Error("one id for two")
		}
	})
}
