package points

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/failpoint"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/test/harness"
)

// The campaign of each play: a few bounce, a few are put off once.
const (
	readers  = 52
	bouncing = 4
	later    = 4
	jobSize  = 20
)

// play is a story that is told again and again, each time with another thing that goes wrong.
type play struct {
	name string
	// needs are the processes that take part.
	needs []role
	// victims are those that are cut off.
	victims []role
	// prepare is what comes before the victim is started.
	prepare func(s *scene)
	// act is what the story is about.
	act func(s *scene)
	// over reports whether it has come to its end.
	over func(s *scene) bool
	// recipients is what becomes of everybody.
	recipients func() map[string]recipient
	// gone: of the object nothing is left.
	gone bool
}

var plays = []play{
	{
		name: "send", needs: []role{operator, worker, facade}, victims: []role{operator, worker, facade},
		prepare: func(*scene) {},
		act: func(s *scene) {
			s.create(false)
			s.startMails()
		},
		over:       func(s *scene) bool { return s.ended() && s.mailsAnswered() && s.mailsEnded() },
		recipients: func() map[string]recipient { return with(delivered(), mailed()) },
	},
	{
		name: "delete", needs: []role{operator}, victims: []role{operator},
		prepare: func(s *scene) {
			s.restart(operator)
			s.create(true)
			s.awaitReason("Suspended", "SuspendedBySpec")
		},
		act:        func(s *scene) { s.remove() },
		over:       func(s *scene) bool { return s.object() == nil },
		recipients: cancelled,
		gone:       true,
	},
	{
		name: "recover", needs: []role{operator, worker}, victims: []role{worker},
		prepare: func(s *scene) {
			s.crew(worker, operator)
			s.create(false)
			dead := s.startVictim(s.t, worker, string(failpoint.SMTPDotSent)+":5:kill")
			dead.Wait()
			s.died(worker)
		},
		act:        func(*scene) {},
		over:       func(s *scene) bool { return s.ended() },
		recipients: delivered,
	},
}

func playNamed(name string) play {
	for _, p := range plays {
		if p.name == name {
			return p
		}
	}
	panic("there is no play " + name)
}

// scene is one performance of a play.
type scene struct {
	*lane

	t *testing.T
	// tag is the campaign's name, and begins every address.
	tag      string
	play     play
	doubtful map[string]bool // ids of recipients whose reply nobody can have read
	mails    *mails
}

func (l *lane) newScene(t *testing.T, p play) *scene {
	t.Helper()
	l.plays++
	return &scene{lane: l, t: t, tag: fmt.Sprintf("p%d", l.plays), play: p, doubtful: map[string]bool{}}
}

func (s *scene) address(name string) string { return s.tag + "." + name + "@example.org" }

func names() []string {
	var all []string
	for _, kind := range []struct {
		prefix string
		n      int
	}{{"bounce", bouncing}, {"r", readers}, {"later", later}} { // always in this order: it decides who is in which job
		for i := range kind.n {
			all = append(all, fmt.Sprintf("%s%02d", kind.prefix, i))
		}
	}
	return all
}

func (s *scene) create(suspend bool) {
	s.t.Helper()
	var addresses []string
	for _, name := range names() {
		addresses = append(addresses, s.address(name))
	}
	object := kubetest.NewCampaign(s.world.Namespace, s.tag).
		WithMessage(v1alpha1.Message{From: &v1alpha1.Mailbox{Address: harness.Sender}, Subject: "News " + s.tag, Text: "There is news.\n"}).
		WithInline(addresses...).WithJobSize(jobSize).WithSuspend(suspend).Obj()
	if err := s.world.Cluster.Client.Create(s.t.Context(), object); err != nil {
		s.t.Fatalf("Creating the campaign: %v", err)
	}
}

// object is the campaign's; nil if it is gone.
func (s *scene) object() *v1alpha1.EmailCampaign {
	s.t.Helper()
	object := &v1alpha1.EmailCampaign{}
	err := s.world.Cluster.Client.Get(s.t.Context(), types.NamespacedName{Namespace: s.world.Namespace, Name: s.tag}, object)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		s.t.Fatalf("Reading the campaign: %v", err)
	}
	return object
}

func (s *scene) remove() {
	s.t.Helper()
	if err := s.world.Cluster.Client.Delete(s.t.Context(), s.object()); err != nil {
		s.t.Fatalf("Deleting the campaign: %v", err)
	}
}

func (s *scene) awaitReason(condition, reason string) {
	s.t.Helper()
	harness.Eventually(s.t, "the campaign is "+reason, func() bool {
		for _, c := range s.object().Status.Conditions {
			if c.Type == condition && c.Reason == reason {
				return true
			}
		}
		return false
	})
}

// ended reports whether the campaign has ended and the operator has let go of it; one with doubts it keeps.
func (s *scene) ended() bool {
	s.t.Helper()
	object := s.object()
	return object.Status.TerminalState != "" && (object.Status.Recipients.InDoubt > 0 || len(object.Finalizers) == 0)
}

// died notes who was between final dot and reply when somebody was killed.
func (s *scene) died(who role) {
	s.t.Helper()
	if dir := s.journals[who]; dir != "" {
		for _, id := range harness.Unanswered(s.t, dir) {
			s.doubtful[id] = true
		}
	}
}

// delivered is what becomes of a campaign's recipients; cancelled, of those of one that never sent.
func delivered() map[string]recipient {
	all := map[string]recipient{}
	for _, name := range names() {
		all[name] = idealOf(name)
	}
	return all
}

func cancelled() map[string]recipient {
	all := map[string]recipient{}
	for _, name := range names() {
		all[name] = recipient{Status: "FAILED", State: "cancelled", Explained: true, Completed: true}
	}
	return all
}

func idealOf(name string) recipient {
	if strings.HasPrefix(name, "bounce") {
		return recipient{
			Status: "FAILED", State: "bounced", Attempts: 1, Code: 550, Category: "BadMailbox", Explained: true, Completed: true,
		}
	}
	r := recipient{Status: "SENT", Sent: true, State: "accepted", Attempts: 1, Code: 250, Completed: true, Accepts: 1}
	if strings.HasPrefix(name, "later") {
		r.Attempts = 2
	}
	return r
}

func with(parts ...map[string]recipient) map[string]recipient {
	all := map[string]recipient{}
	for _, m := range parts {
		maps.Copy(all, m)
	}
	return all
}
