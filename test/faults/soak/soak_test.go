package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/test/faults/check"
	"github.com/cartero-mail/cartero/test/harness"
)

var (
	seed     = flag.Uint64("soak.seed", 0, "number that decides what is done; the time unless set")
	duration = flag.Duration("soak.duration", 10*time.Second, "how long things break")
	keep     = flag.String("soak.keep", "", "directory for what is judged")
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// clients is how many make requests at a time.
const clients = 3

// TestSoak breaks things at random, mends them, and has what is left judged.
func TestSoak(t *testing.T) { //nolint:paralleltest // it sets the environment, and takes the whole machine
	if testing.Short() {
		t.Skip("needs an API server, MariaDB and Redis")
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-soak.seed=%d -soak.duration=%s", *seed, *duration)
	dir := *keep
	if dir == "" {
		dir = t.TempDir()
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	random := func(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(*seed, stream)) }
	w := newWorld(t, dir)
	end, over := make(chan struct{}), make(chan struct{})
	n := &nemesis{world: w, random: random(0), end: end, done: map[string]int{}}
	l := &load{world: w, random: random(1), end: end}
	o := &observer{world: w, versions: map[string]string{}}

	var loads, watch sync.WaitGroup
	loads.Go(l.campaigns)
	for i := range clients {
		loads.Go(func() { l.requests(random(uint64(2+i)), i) })
	}
	watch.Go(func() { o.watch(over) })
	timer := time.AfterFunc(*duration, func() { close(end) })
	defer timer.Stop()
	n.run()
	n.heal()
	loads.Wait()
	l.resumeAll()
	w.settle(n)
	close(over)
	watch.Wait()
	w.rest(o)
	t.Logf("%d mails of %d campaigns, %d of them deleted, %d answered requests; %s", l.mails, len(l.applied)+l.deleted, l.deleted, l.asked, counts(n.done))
	w.judge()
}

func counts(done map[string]int) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(done)) {
		all = append(all, fmt.Sprintf("%s %d×", name, done[name]))
	}
	return strings.Join(all, ", ")
}

// waiting are what has to come to zero: rows of sealed campaigns that wait, jobs and leases that are open.
var waiting = []string{
	"SELECT COUNT(*) FROM `Recipient` r JOIN `EmailJob` j ON j.`id` = r.`jobId` LEFT JOIN `Campaign` c ON c.`key` = j.`campaignKey` " +
		"WHERE r.`state` IN ('pending', 'active', 'deferred')",
	"SELECT COUNT(*) FROM `EmailJob` WHERE `status` IN ('PENDING', 'PROCESSING')",
	"SELECT COUNT(*) FROM `Lease` WHERE `until` IS NOT NULL",
	"SELECT COUNT(*) FROM `Campaign` WHERE `sealedAt` IS NULL",
}

// settle waits until nothing is left to do, and starts what ends meanwhile. Whatever stays so for all of the harness's
// patience is for the judge.
func (w *world) settle(n *nemesis) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), harness.Patience)
	defer cancel()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for looks := 0; ; looks++ {
		left := w.left(ctx)
		if left == "" {
			return
		}
		if looks%10 == 9 {
			w.note("left: %s; transactions: %s", left, w.transactions(ctx))
		}
		select {
		case <-ctx.Done():
			w.note("not at rest: %s", left)
			w.Errorf("not at rest after %s: %s", harness.Patience, left)
			return
		case <-ticker.C:
			n.tend()
		}
	}
}

// transactions are those that have been open for seconds: who waits for whom, should nothing move.
func (w *world) transactions(ctx context.Context) string {
	w.Helper()
	rows, err := w.DB.QueryContext(ctx, "SELECT t.trx_id, t.trx_state, TIMESTAMPDIFF(SECOND, t.trx_started, NOW()), "+
		"t.trx_mysql_thread_id, t.trx_rows_locked, LEFT(COALESCE(t.trx_query, ''), 160), COALESCE(w.blocking_trx_id, 0) "+
		"FROM information_schema.innodb_trx t LEFT JOIN information_schema.innodb_lock_waits w ON w.requesting_trx_id = t.trx_id "+
		"WHERE t.trx_started < NOW() - INTERVAL 2 SECOND")
	if err != nil {
		return err.Error()
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var id, state, query, blocker string
		var age, thread, locked int
		if err := rows.Scan(&id, &state, &age, &thread, &locked, &query, &blocker); err != nil {
			return err.Error()
		}
		all = append(all, fmt.Sprintf("%s of thread %d, %s for %d s, %d rows locked, behind %s: %s", id, thread, state, age, locked, blocker, query))
	}
	if err := rows.Err(); err != nil {
		return err.Error()
	}
	return fmt.Sprint(all)
}

// left says what is still to be done; empty for nothing.
func (w *world) left(ctx context.Context) string {
	w.Helper()
	for _, statement := range waiting {
		var n int
		if err := w.DB.QueryRowContext(ctx, statement).Scan(&n); err != nil {
			return err.Error()
		}
		if n > 0 {
			return fmt.Sprintf("%d from %s", n, statement)
		}
	}
	o := observer{world: w, versions: map[string]string{}}
	for _, c := range o.unfinished(ctx) {
		return "campaign " + c
	}
	files, err := filepath.Glob(filepath.Join(w.journals, "*", "*"))
	if err != nil || len(files) > 0 {
		return fmt.Sprintf("%d journals, %v", len(files), err)
	}
	return ""
}

// rests is how often the campaigns are looked at when nothing happens any more, each time after the operators have had
// the time to look at them, too.
const rests = 3

func (w *world) rest(o *observer) {
	w.Helper()
	pause(5*time.Second, nil) // the last status is written some seconds after the last row
	w.add(check.Event{Kind: check.KindQuiet})
	for range rests {
		o.look(true)
		pause(3*time.Second, nil)
	}
	o.told()
}

// judge leaves everything in the directory, and has it judged.
func (w *world) judge() {
	w.Helper()
	for _, p := range w.parts {
		p.now().Stop()
		for i, life := range p.lives {
			name := filepath.Join(w.dir, "outputs", fmt.Sprintf("%s.%d.log", p.name, i))
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				w.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(life.Output()), 0o600); err != nil {
				w.Fatal(err)
			}
		}
	}
	if err := w.relay.Close(); err != nil {
		w.Errorf("The relay's book: %v", err)
	}
	keys, err := check.DumpQueue(context.Background(), w.Redis, w.Prefix)
	if err != nil {
		w.Fatal(err)
	}
	files := check.Files{
		Ledger: w.config.Path, History: filepath.Join(w.dir, "history.jsonl"), Queue: filepath.Join(w.dir, "queue.jsonl"),
		Outputs: filepath.Join(w.dir, "outputs"), Journals: w.journals, Secrets: filepath.Join(w.dir, "secrets"),
	}
	if err := check.WriteQueue(files.Queue, keys); err != nil {
		w.Fatal(err)
	}
	secrets := strings.Join([]string{canary, bodyMark, password, apiKey}, "\n")
	if err := os.WriteFile(files.Secrets, []byte(secrets), 0o600); err != nil {
		w.Fatal(err)
	}
	run := check.Run{Lossy: true}
	if err := run.Read(files); err != nil {
		w.Fatal(err)
	}
	if err := run.Load(context.Background(), w.DatabaseURL, mail.Address{Address: sender}); err != nil {
		w.Fatal(err)
	}
	report := check.Check(run)
	var text strings.Builder
	report.Print(&text)
	w.Log("\n" + text.String())
	if len(report.Violations) > 0 {
		w.Errorf("%d violations with -soak.seed=%d", len(report.Violations), *seed)
	}
}
