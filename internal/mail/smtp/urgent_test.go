package smtp

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/mail"
)

// TestUrgentMailsGoFirst: of the mails that wait for a connection, urgent ones go first, in their order, and nobody is
// overtaken for ever.
func TestUrgentMailsGoFirst(t *testing.T) {
	t.Parallel()
	p := &Pool{}
	wait := func(to string, urgent bool) {
		p.queueLocked(newTransaction(mail.Envelope{To: to, Urgent: urgent}, nil, mail.Tail{}, nil))
	}
	order := func() (to []string) {
		for _, t := range p.waiters {
			to = append(to, t.env.To)
		}
		return to
	}
	wait("a", false)
	wait("b", false)
	wait("u1", true)
	wait("c", false)
	wait("u2", true)
	if diff := cmp.Diff([]string{"u1", "u2", "a", "b", "c"}, order()); diff != "" {
		t.Errorf("who waits (-want +got):\n%s", diff)
	}
	for range maxOvertaken {
		wait("more", true)
	}
	got := order()
	if diff := cmp.Diff([]string{"a", "b", "more", "c", "more"}, got[len(got)-5:]); diff != "" {
		t.Errorf("who is last, after many (-want +got):\n%s", diff)
	}
}
