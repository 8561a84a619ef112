package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cartero-mail/cartero/test/harness"
)

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// longRun is from when on a run has what takes a minute to get over.
const longRun = time.Minute

// nemesis breaks things, one after another, and mends each before the next, but for what takes care of itself.
type nemesis struct {
	*world

	random *rand.Rand
	end    <-chan struct{}
	// done counts what was done, by name.
	done map[string]int
}

// fault is something that can go wrong, and how likely it is.
type fault struct {
	name   string
	weight int
	do     func()
}

func (n *nemesis) faults() []fault {
	all := []fault{
		{"kill -9 one", 8, n.killOne},
		{"kill -9 twice in a row", 3, n.killInItsStart},
		{"kill -9 all", 2, n.killAll},
		{"stop one", 4, n.freezeOne},
		{"stop one longer than its lease", 1, n.freezeForLong},
		{"Redis is emptied", 2, func() { n.ForgetQueue(n.T) }},
		{"Redis is away", 2, func() { n.away(n.redis, 3*time.Second) }},
		{"the database is away", 3, func() { n.away(n.database, 3*time.Second) }},
		{"the API server is away", 2, func() { n.away(n.kube, 4*time.Second) }},
		{"connections to the database are cut", 4, func() { n.away(n.database, 0) }},
		{"connections to Redis are cut", 2, func() { n.away(n.redis, 0) }},
		{"connections to the relay are cut", 2, func() { n.away(n.smtp, 0) }},
		{"the relay is away", 1, func() { n.away(n.smtp, 2*time.Second) }},
		{"the relay is killed", 1, n.restartRelay},
		{"the relay is in a mood", 4, n.mood},
		{"everything at once", 1, n.everything},
	}
	if n.db != nil {
		all = append(all, fault{"MariaDB is killed", 2, n.killDatabase})
	}
	return all
}

// run breaks things until the end.
func (n *nemesis) run() {
	n.Helper()
	all := n.faults()
	sum := 0
	for _, f := range all {
		sum += f.weight
	}
	for {
		pause(time.Duration(500+n.random.IntN(2500))*time.Millisecond, n.end)
		select {
		case <-n.end:
			return
		default:
		}
		dice := n.random.IntN(sum)
		for _, f := range all {
			if dice -= f.weight; dice < 0 {
				n.done[f.name]++
				n.note("%s", f.name)
				f.do()
				break
			}
		}
		n.tend()
	}
}

// heal mends everything.
func (n *nemesis) heal() {
	n.Helper()
	for _, p := range n.parts {
		n.thaw(p)
	}
	for _, proxy := range []*harness.Proxy{n.database, n.redis, n.smtp, n.kube} {
		proxy.Come()
	}
	if err := n.relay.Next(""); err != nil {
		n.Error(err)
	}
	n.tend()
	n.note("everything is mended")
}

func (n *nemesis) any() *part { return n.parts[n.random.IntN(len(n.parts))] }

func (n *nemesis) killOne() {
	n.Helper()
	p := n.any()
	n.note("%s is killed", p.name)
	n.kill(p)
	n.start(p)
}

// killInItsStart kills a part again before it has come up.
func (n *nemesis) killInItsStart() {
	n.Helper()
	p := n.any()
	n.note("%s is killed, and again in its start", p.name)
	n.kill(p)
	n.start(p)
	pause(time.Duration(n.random.IntN(800))*time.Millisecond, n.end)
	n.kill(p)
	n.start(p)
}

func (n *nemesis) killAll() {
	n.Helper()
	for _, p := range n.parts {
		n.kill(p)
	}
	for _, p := range n.parts {
		n.start(p)
	}
}

func (n *nemesis) freezeOne() {
	n.Helper()
	p := n.any()
	n.note("%s is stopped", p.name)
	n.freeze(p)
	pause(time.Duration(500+n.random.IntN(5000))*time.Millisecond, n.end)
	n.thaw(p)
}

func (n *nemesis) freezeForLong() {
	n.Helper()
	p := n.parts[2+n.random.IntN(2)] // a worker
	n.note("%s is stopped for long", p.name)
	n.freeze(p)
	pause(30*time.Second, n.end)
	n.thaw(p)
}

func (n *nemesis) away(proxy *harness.Proxy, most time.Duration) {
	n.Helper()
	proxy.Leave()
	if most > 0 {
		pause(time.Duration(n.random.Int64N(int64(most))), n.end)
	}
	proxy.Come()
}

func (n *nemesis) restartRelay() {
	n.Helper()
	_ = n.relay.Close()
	pause(time.Duration(n.random.IntN(1000))*time.Millisecond, n.end)
	n.startRelay()
}

// mood has the relay treat the next mails badly, whoever they are for.
func (n *nemesis) mood() {
	n.Helper()
	moods := []string{"471x20", "471dotx10", "dropbeforedotx2", "dropafterdotx2", "lostafterdotx2", "garbage", "half", "471mailx5"}
	if *duration > longRun { // whoever hears a 421 leaves the relay alone for a minute
		moods = append(moods, "421", "421connect", "421dot")
	}
	mood := moods[n.random.IntN(len(moods))]
	n.note("the relay's mood: %s", mood)
	if err := n.relay.Next(mood); err != nil {
		n.Error(err)
	}
}

func (n *nemesis) killDatabase() {
	n.Helper()
	n.db.Kill()
	n.db.Start()
}

// everything kills all parts, cuts all connections, empties Redis, and kills relay and database.
func (n *nemesis) everything() {
	n.Helper()
	for _, p := range n.parts {
		n.kill(p)
	}
	proxies := []*harness.Proxy{n.database, n.redis, n.smtp, n.kube}
	for _, proxy := range proxies {
		proxy.Leave()
	}
	n.ForgetQueue(n.T)
	n.restartRelay()
	if n.db != nil {
		n.killDatabase()
	}
	for _, p := range n.parts {
		n.start(p)
	}
	for _, proxy := range proxies {
		proxy.Come()
	}
}
