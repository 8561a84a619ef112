package dependencies

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/faults/proxy"
	"github.com/cartero-mail/cartero/test/faults/proxy/mysql"
	"github.com/cartero-mail/cartero/test/faults/proxy/redis"
	"github.com/cartero-mail/cartero/test/harness"
)

// desk is a facade behind proxies of its own, and a worker that nothing happens to.
type desk struct {
	*stage

	facade  part
	address string
	asked   int
	orders  []*order
}

const deskKey = "the-key-of-the-desk"

// newDesk starts both. The facade's own outbox rests: what its calls leave undone, the worker's does.
func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{stage: newStage(t)}
	d.facade.db, d.facade.queue = d.proxies()
	d.startWorker(nil)
	env := d.through(d.facade.db, d.facade.queue)
	d.facade.Process, d.address = d.world.StartFacade(deskKey, env, harness.Env{"SWEEP_INTERVAL": "1h"})
	harness.Eventually(t, "the facade is ready", func() bool { return d.get("/readyz").status == http.StatusOK })
	return d
}

// answer is that of the facade; without one, its status is 0.
type answer struct {
	status   int
	replayed bool
	retry    string
	body     struct {
		OK      bool     `json:"ok"`
		Error   string   `json:"error"`
		InDoubt bool     `json:"inDoubt"`
		JobID   string   `json:"jobId"`
		Status  string   `json:"status"`
		Failing []string `json:"failing"`
	}
}

func (d *desk) get(path string) answer { return d.ask(http.MethodGet, path, "", "") }

// ask makes one request, and waits for its answer for as long as a patient client does.
func (d *desk) ask(method, path, key, body string) (a answer) {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), harness.Patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, d.address+path, strings.NewReader(body))
	if err != nil {
		d.Fatal(err)
	}
	request.Header = http.Header{"X-Api-Key": {deskKey}, "Content-Type": {"application/json"}}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		d.Errorf("%s %s has no answer: %v", method, path, err)
		return a
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || json.Unmarshal(bytes.TrimSpace(text), &a.body) != nil {
		d.Errorf("%s %s: %v, %s", method, path, err, text)
	}
	a.status, a.replayed = response.StatusCode, response.Header.Get("Idempotent-Replayed") == "true"
	a.retry = response.Header.Get("Retry-After")
	return a
}

// call is what clients ask for.
type call struct {
	path  string
	keyed bool
}

var calls = []call{{"/send_async", true}, {"/send_async", false}, {"/send-campaign", true}, {"/send-campaign", false}}

func (c call) String() string {
	if c.keyed {
		return c.path + " with a key"
	}
	return c.path
}

// order is one request of a client, and what it was told of it.
type order struct {
	call

	what  string
	name  string
	to    []string
	first answer
	last  answer
}

// newOrder is a request that was not made yet: its addresses are nobody else's.
func (d *desk) newOrder(c call, what string) *order {
	d.asked++
	o := &order{call: c, what: fmt.Sprintf("%s: %s", c, what), name: fmt.Sprintf("order%d", d.asked)}
	n := 1
	if c.path == "/send-campaign" {
		n = 2
	}
	o.to = people(o.name, n)
	return o
}

// send makes the request once.
func (d *desk) send(o *order) answer {
	d.Helper()
	key, list := "", "to"
	if o.keyed {
		key = d.world.Prefix + "." + o.name
	}
	if o.path == "/send-campaign" {
		list = "recipients"
	}
	body, err := json.Marshal(map[string]any{list: o.to, "subject": "News", "body": "There is news."})
	if err != nil {
		d.Fatal(err)
	}
	return d.ask(http.MethodPost, o.path, key, string(body))
}

// settle has the client do what it is told after its first answer: with a key it asks again until it is taken, and once more.
// What is wrong with the answers is told at once.
func (d *desk) settle(o *order) {
	d.Helper()
	d.orders = append(d.orders, o)
	o.last = o.first
	switch {
	case o.first.status == http.StatusAccepted:
		if o.first.replayed {
			d.Errorf("%s: is said to have been carried out before", o.what)
		}
	case o.first.status == http.StatusServiceUnavailable:
		if o.first.retry == "" || o.first.body.InDoubt && !o.keyed {
			d.Errorf("%s: a client is told to try again after %q s what is in doubt: %t", o.what, o.first.retry, o.first.body.InDoubt)
		}
	case o.first.status == http.StatusInternalServerError && o.first.body.InDoubt:
		if o.first.retry != "" || o.keyed {
			d.Errorf("%s: a client is told %+v", o.what, o.first)
		}
	default:
		d.Errorf("%s: answered %+v", o.what, o.first)
	}
	if !o.keyed {
		return
	}
	harness.Eventually(d, o.what+" is taken", func() bool {
		if o.last.status != http.StatusAccepted {
			o.last = d.send(o)
		}
		return o.last.status == http.StatusAccepted
	})
	again := d.send(o)
	if !again.replayed || again.status != http.StatusAccepted || again.body.JobID != o.last.body.JobID {
		d.Errorf("%s: asked for once more: %+v, before: %+v", o.what, again, o.last)
	}
}

// judgeOrders waits until nothing is left to be sent, and compares mails and rows with what clients were told.
func (d *desk) judgeOrders() {
	d.Helper()
	harness.Eventually(d, "everything that was taken is sent", func() bool {
		return d.count("SELECT COUNT(*) FROM `Recipient` r JOIN `EmailJob` j ON j.`id` = r.`jobId` JOIN `Campaign` c ON c.`key` = j.`campaignKey`"+
			" WHERE c.`sealedAt` IS NOT NULL AND (r.`state` <> 'accepted' OR r.`status` <> 'SENT' OR j.`status` <> 'COMPLETED')") == 0
	})
	mails := d.world.Relay.Recipients()
	told := map[string]int{}
	for _, o := range d.orders {
		want, doubtful := 0, o.last.body.InDoubt
		if o.last.status == http.StatusAccepted {
			want, doubtful = 1, false
		}
		told[fmt.Sprintf("first answered %d, in doubt: %t", o.first.status, o.first.body.InDoubt)]++
		got := mails[o.to[0]]
		for _, address := range o.to {
			if mails[address] != got {
				d.Errorf("%s: %d and %d mails for recipients of one request", o.what, got, mails[address])
			}
		}
		if got != want && (!doubtful || got != 1) {
			d.Errorf("%s: %d mails after %d (%s)", o.what, got, o.last.status, o.last.body.Error)
		}
	}
	d.Logf("%d requests: %v", len(d.orders), told)
	for line := range strings.Lines(d.facade.Output()) {
		if strings.Contains(line, ".example.org") || strings.Contains(strings.ToLower(line), "panic") {
			d.Errorf("the facade said %s", line)
		}
	}
	if d.facade.Ended() {
		d.Error("the facade has ended")
	}
}

func (d *desk) count(query string) (n int) {
	d.Helper()
	if err := d.world.DB.QueryRowContext(context.Background(), query).Scan(&n); err != nil && err != sql.ErrNoRows {
		d.Fatal(err)
	}
	return n
}

// statementsOf are the places of a call at the database.
func (d *desk) statementsOf(c call) []place {
	d.Helper()
	var found places
	watch := d.facade.db.Arm(mysql.Rule{Match: func(r mysql.Request) bool { found.note(statementKind(r)); return false }})
	d.undisturbed(c)
	watch.Disarm()
	d.facade.db.DisarmAll()
	return found.all()
}

// commandsOf are those at Redis. For how long the queue is, single mails ask now and then, for all of them: that is not in every
// call, and is what lists show, which ask each time.
func (d *desk) commandsOf(c call) []place {
	d.Helper()
	var found places
	watch := d.facade.queue.Arm(redis.Rule{Match: func(r redis.Request) bool { found.note(commandKind(r)); return false }})
	d.undisturbed(c)
	watch.Disarm()
	d.facade.queue.DisarmAll()
	return slices.DeleteFunc(found.all(), func(p place) bool {
		return c.path == "/send_async" && !strings.HasPrefix(p.kind, "EVALSHA")
	})
}

func (d *desk) undisturbed(c call) {
	d.Helper()
	o := d.newOrder(c, "undisturbed")
	if o.first = d.send(o); o.first.status != http.StatusAccepted {
		d.Fatalf("%s: answered %+v", o.what, o.first)
	}
	o.last = o.first
	d.orders = append(d.orders, o)
}

// deskFaults are what happens to a statement; those with a refusal don't to a commit, which the server refuses in other ways.
var deskFaults = []struct {
	name string
	rule mysql.Rule
	// away: from then on nothing can be reached, until the client has its answer.
	away bool
}{
	{name: "the reply is lost", rule: mysql.Rule{Do: proxy.Lose}},
	{name: "cut", rule: mysql.Rule{Do: proxy.Cut}},
	{name: "the reply is lost, and then it is away", rule: mysql.Rule{Do: proxy.Lose}, away: true},
	{name: "away", rule: mysql.Rule{Do: proxy.Cut}, away: true},
	{name: "a deadlock", rule: mysql.Rule{Do: proxy.Answer, Reply: mysql.Deadlock}},
	{name: "a lock that was not got", rule: mysql.Rule{Do: proxy.Answer, Reply: mysql.LockWaitTimeout}},
	{name: "read-only", rule: mysql.Rule{Do: proxy.Answer, Reply: mysql.OptionPrevents}},
	{name: "the table is full", rule: mysql.Rule{Do: proxy.Answer, Reply: mysql.TableFull}},
	{name: "shut down", rule: mysql.Rule{Do: proxy.Answer, Reply: mysql.Shutdown, HangUp: true}},
	{name: "a query that was killed", rule: mysql.Rule{Do: proxy.Answer, Reply: mysql.Interrupted}},
}

// TestEachStatementOfTheFacade has every statement of every call fail in every way, and every commit's reply be lost: what was
// taken is sent once, what was refused is not sent, and what nobody can know is called so. With a key it is sent once in the end.
func TestEachStatementOfTheFacade(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, c := range calls {
		d.undisturbed(c) // connections are open
		statements := d.statementsOf(c)
		t.Logf("%s: %d statements", c, len(statements))
		for _, at := range statements {
			for _, fault := range deskFaults {
				if fault.rule.Do == proxy.Answer && strings.HasPrefix(at.kind, "COMMIT") {
					continue
				}
				d.failing(c, at, fault.name, fault.rule, fault.away)
			}
		}
	}
	d.judgeOrders()
}

// failing makes one call, something being wrong at one place.
func (d *desk) failing(c call, at place, name string, rule mysql.Rule, away bool) {
	d.Helper()
	o := d.newOrder(c, fmt.Sprintf("%s at %.90q (%d)", name, at.kind, at.n))
	trap := &trap{place: at}
	rule.Match = func(r mysql.Request) bool { return trap.at(statementKind(r)) }
	d.facade.db.Arm(rule)
	if away {
		after := mysql.Rule{Match: func(mysql.Request) bool { return trap.sprung.Load() }, Do: proxy.Cut, Times: proxy.Always}
		d.facade.db.Arm(after)
	}
	o.first = d.send(o)
	if !trap.sprung.Load() {
		d.Errorf("%s: was not reached; answered %+v", o.what, o.first)
	}
	d.facade.db.DisarmAll()
	d.settle(o)
}

// TestEachCommandOfTheFacade has every command of every call fail in every way: nothing is refused for that, and nothing is lost.
func TestEachCommandOfTheFacade(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, c := range calls {
		d.undisturbed(c)
		commands := d.commandsOf(c)
		t.Logf("%s: %d commands", c, len(commands))
		for _, at := range commands {
			for _, fault := range queueFaults {
				if fault.rule.Do == proxy.Answer && !strings.HasPrefix(at.kind, "EVALSHA") {
					continue // commands between MULTI and EXEC are not answered one by one
				}
				d.queueFailing(c, at, fault.name, fault.rule, false)
			}
			d.queueFailing(c, at, "the reply is lost, and then it is away", redis.Rule{Do: proxy.Lose}, true)
			d.queueFailing(c, at, "away", redis.Rule{Do: proxy.Cut}, true)
		}
	}
	d.judgeOrders()
}

func (d *desk) queueFailing(c call, at place, name string, rule redis.Rule, away bool) {
	d.Helper()
	o := d.newOrder(c, fmt.Sprintf("%s at %s (%d)", name, at.kind, at.n))
	trap := &trap{place: at}
	rule.Match = func(r redis.Request) bool {
		return trap.at(commandKind(r)) || rule.Times > 1 && trap.sprung.Load() && commandKind(r) == at.kind
	}
	d.facade.queue.Arm(rule)
	if away {
		after := redis.Rule{Match: func(redis.Request) bool { return trap.sprung.Load() }, Do: proxy.Cut, Times: proxy.Always}
		d.facade.queue.Arm(after)
	}
	o.first = d.send(o)
	if !trap.sprung.Load() {
		d.Errorf("%s: was not reached; answered %+v", o.what, o.first)
	}
	d.facade.queue.DisarmAll()
	if o.first.status != http.StatusAccepted {
		d.Errorf("%s: answered %+v", o.what, o.first)
	}
	d.settle(o)
}

// probes are what the facade says of itself.
func (d *desk) probes() map[string]string {
	all := map[string]string{}
	for _, path := range []string{"/health", "/livez", "/readyz"} {
		a := d.get(path)
		all[path] = fmt.Sprint(a.status, a.body.Failing)
	}
	return all
}

// TestFacadeWithoutItsServers: database, Redis or both are away, or fell silent with their connections open. Probes say what they
// should, calls are answered, and what was taken or repeated with its key is sent once.
func TestFacadeWithoutItsServers(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	well := map[string]string{"/health": "200 []", "/livez": "200 []", "/readyz": "200 []"}
	unready := map[string]string{"/health": "200 []", "/livez": "200 []", "/readyz": "503 [database]"}
	for _, outage := range []struct {
		name            string
		database, redis proxy.Action
	}{
		{name: "the database is away", database: proxy.Cut},
		{name: "Redis is away", redis: proxy.Cut},
		{name: "both are away", database: proxy.Cut, redis: proxy.Cut},
		{name: "the database is silent", database: proxy.Swallow},
		{name: "Redis is silent", redis: proxy.Swallow},
		{name: "both are silent", database: proxy.Swallow, redis: proxy.Swallow},
	} {
		want, status := well, http.StatusAccepted
		if outage.name == "both are silent" && !everything() {
			continue
		}
		if outage.database != 0 {
			want, status = unready, http.StatusServiceUnavailable
			d.facade.db.Arm(mysql.Rule{Do: outage.database, Times: proxy.Always})
		}
		if outage.redis != 0 {
			d.facade.queue.Arm(redis.Rule{Do: outage.redis, Times: proxy.Always})
		}
		if outage.database == proxy.Cut {
			d.facade.db.CutAll()
		}
		if outage.redis == proxy.Cut {
			d.facade.queue.CutAll()
		}
		if diff := gocmp.Diff(want, d.probes()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", outage.name, diff)
		}
		var orders []*order
		var asking sync.WaitGroup
		for _, c := range calls {
			if outage.database == proxy.Swallow && c.path == "/send-campaign" {
				continue // is given as long as its longest transaction may take
			}
			o := d.newOrder(c, outage.name)
			orders = append(orders, o)
			asking.Go(func() { o.first = d.send(o) })
		}
		asking.Wait()
		for _, o := range orders {
			if o.first.status != status || o.first.body.InDoubt {
				t.Errorf("%s: answered %+v, want %d", o.what, o.first, status)
			}
		}
		d.facade.db.DisarmAll()
		d.facade.queue.DisarmAll()
		d.facade.db.CutAll() // what is silent stays so
		d.facade.queue.CutAll()
		harness.Eventually(t, "the facade is ready", func() bool { return d.get("/readyz").status == http.StatusOK })
		for _, o := range orders {
			d.settle(o)
		}
		if diff := gocmp.Diff(well, d.probes()); diff != "" {
			t.Errorf("after that %s (-want +got):\n%s", outage.name, diff)
		}
	}
	d.judgeOrders()
}
