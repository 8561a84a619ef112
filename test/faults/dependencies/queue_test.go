package dependencies

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/test/faults/proxy"
	"github.com/cartero-mail/cartero/test/faults/proxy/redis"
)

// commands are those by which a job gets into the queue and through it.
func commands(t *testing.T) []command {
	t.Helper()
	of := func(name string) func(redis.Request) bool { return redis.Script(script(t, name)) }
	return []command{
		{"added", of("add"), func(s *stage) *redis.Proxy { return s.operator.queue }},
		{"taken", of("take"), queueOfWorker},
		{"lock renewed", of("extend"), queueOfWorker},
		{"completed", of("complete"), queueOfWorker},
		{"moved", redis.Command("BLMOVE", "BRPOPLPUSH"), queueOfWorker},
		{"dead workers looked for", of("stalled"), queueOfWorker},
		{"due ones looked for", of("promote"), queueOfWorker},
	}
}

type command struct {
	name  string
	match func(redis.Request) bool
	of    func(*stage) *redis.Proxy
}

func queueOfWorker(s *stage) *redis.Proxy { return s.worker.queue }

// queueFaults are what happens to a command.
var queueFaults = []struct {
	name string
	rule redis.Rule
}{
	{"its reply is lost", redis.Rule{Do: proxy.Lose}},
	{"cut before", redis.Rule{Do: proxy.Cut}},
	{"a replica", redis.Rule{Do: proxy.Answer, Reply: redis.ReadOnly, Times: 2}},
	{"full", redis.Rule{Do: proxy.Answer, Reply: redis.OutOfMemory, Times: 2}},
	{"no such script", redis.Rule{Do: proxy.Answer, Reply: redis.NoScript}},
	{"loading", redis.Rule{Do: proxy.Answer, Reply: redis.Loading, Times: 2}},
	{"without its master", redis.Rule{Do: proxy.Answer, Reply: redis.MasterDown}},
	{"moved away", redis.Rule{Do: proxy.Answer, Reply: redis.Moved}},
	{"can't save", redis.Rule{Do: proxy.Answer, Reply: redis.Misconf}},
	{"its reply is lost, twice", redis.Rule{Do: proxy.Lose, Times: 2}},
}

// rule is the fault at a command. Only a digest can be unknown.
func (c command) rule(fault redis.Rule) redis.Rule {
	fault.Match = c.match
	if fault.Reply == redis.NoScript {
		fault.Match = func(r redis.Request) bool { return c.match(r) && redis.ByDigest(r) }
	}
	return fault
}

// TestEachCommandFails has each command fail in each way: the rows decide, so nobody is lost or mailed twice. A plain run
// has each command fail in two ways, and each way at some command.
func TestEachCommandFails(t *testing.T) {
	t.Parallel()
	all := commands(t)
	s := newStage(t)
	s.startOperator(nil)
	s.startWorker(nil)
	rounds := 2
	if everything() {
		rounds = len(queueFaults)
	}
	var hold atomic.Pointer[chan struct{}] // a mail is on the wire until the locks were renewed
	s.world.Relay.OnMail(func(int) {
		if gate := hold.Load(); gate != nil {
			<-*gate
		}
	})
	for round := range rounds {
		name := fmt.Sprintf("queued-%d", round)
		gate := make(chan struct{})
		hold.Store(&gate)
		hits := map[string]*redis.Armed{}
		for i, c := range all {
			fault := queueFaults[(i+round*len(queueFaults)/rounds)%len(queueFaults)]
			if c.name == "moved" && fault.rule.Reply == redis.NoScript {
				continue // it is no script
			}
			hits[c.name+": "+fault.name] = c.of(s).Arm(c.rule(fault.rule))
		}
		s.world.Send(name, people(name, 3*jobSize), jobSize)
		for what, armed := range hits {
			if len(what) > 9 && what[:9] == "completed" { // after the mails
				continue
			}
			t.Logf("%s: %s", name, what)
			armed.Await(t, 1)
		}
		hold.Store(nil)
		close(gate)
		for _, armed := range hits {
			armed.Await(t, 1)
		}
		s.operator.queue.DisarmAll()
		s.worker.queue.DisarmAll()
		s.judge(name, 3*jobSize)
	}
}

// TestSilentRedis: a server that takes commands and never answers. A command that waits for long is one that failed.
func TestSilentRedis(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.startOperator(nil)
	s.startWorker(nil)
	s.worker.Await("Taking jobs")
	added := s.operator.queue.Arm(redis.Rule{Match: redis.Script(script(t, "add")), Do: proxy.Swallow})
	taken := s.worker.queue.Arm(redis.Rule{Match: redis.Script(script(t, "take")), Do: proxy.Swallow})
	s.world.Send("silence", people("silence", 2*jobSize), jobSize)
	added.Await(t, 1)
	taken.Await(t, 1)
	s.judge("silence", 2*jobSize)
}

// TestLostKeys: hashes of jobs that wait are gone, ids are gone from their list, and a key is something else.
func TestLostKeys(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.startOperator(nil)
	s.world.Send("evicted", people("evicted", 5*jobSize), jobSize)
	s.world.AwaitCondition("evicted", v1alpha1.ConditionEnqueued, v1alpha1.ReasonEnqueued)
	base := s.world.Prefix + ":email-queue:"
	ctx := t.Context()
	ids, err := s.world.Redis.LRange(ctx, base+"wait", 0, -1).Result()
	if err != nil || len(ids) != 5 {
		t.Fatalf("%d jobs wait: %v", len(ids), err)
	}
	pipe := s.world.Redis.Pipeline()
	pipe.Del(ctx, base+ids[0])
	pipe.LRem(ctx, base+"wait", 0, ids[1])
	pipe.Del(ctx, base+ids[2])
	pipe.Set(ctx, base+ids[2], "something else", 0)
	pipe.HDel(ctx, base+ids[3], "data")
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	s.startWorker(nil)
	s.judge("evicted", 5*jobSize)
}
