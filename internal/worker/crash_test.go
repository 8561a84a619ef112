package worker_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/worker"
)

// The test binary started with these is a worker that stops at a point, says so, and waits to be killed.
const (
	crashChildVariable = "CARTERO_TEST_CRASH_AT"
	crashDirVariable   = "CARTERO_TEST_CRASH_DIR"
	// crashSubmitVariable has it send what is submitted, crashRecipients mails to one recipient each, instead of a job.
	crashSubmitVariable = "CARTERO_TEST_CRASH_SUBMIT"
)

// Recipients are announced a window at a time and sent one by one; the worker dies over the first of the second window.
const (
	crashRecipients = 100
	crashWindow     = 32 // enough for journals with room
	crashVictim     = 32
)

// The points.
const (
	beforeAnnounce = "before the announcement is in the database"
	afterAnnounce  = "after the announcement"
	inData         = "before the final dot"
	inDot          = "after the final dot, which the relay did not get"
	inDotAccepted  = "after the final dot, which the relay accepted"
	beforeRecord   = "after the reply, before the result is in the database"
	afterRecord    = "after the result is in the database"
	afterFinish    = "after the job is finished, before the queue knows"

	afterHold      = "after the campaign is held, before its recipient is given back"
	afterCancel    = "after the campaign is cancelled, before its recipient's result is in the database"
	whileThrottled = "while the rate has the next mail wait"

	beforeSubmit = "before the mails are in the database"
	afterSubmit  = "after the mails are in the database"
)

// TestKilled kills a worker with SIGKILL at each point and starts another on what it left.
func TestKilled(t *testing.T) {
	t.Parallel()
	everybody := addresses(0, crashRecipients)
	without := slices.Delete(addresses(0, crashRecipients), crashVictim, crashVictim+1)
	one := slices.Concat(each(0, crashVictim, accepted), each(crashVictim, crashVictim+1, doubted), each(crashVictim+1, crashRecipients, accepted))
	for _, test := range []struct {
		name   string
		point  string
		harm   func(t *testing.T, journal string)
		rows   []row
		ledger []string
	}{
		{name: beforeAnnounce, point: beforeAnnounce, rows: each(0, crashRecipients, accepted), ledger: everybody},
		{name: afterAnnounce, point: afterAnnounce, rows: each(0, crashRecipients, accepted), ledger: everybody},
		{name: inData, point: inData, rows: each(0, crashRecipients, accepted), ledger: everybody},
		{name: inDot, point: inDot, rows: one, ledger: without},
		{name: inDotAccepted, point: inDotAccepted, rows: one, ledger: everybody},
		{name: beforeRecord, point: beforeRecord, rows: each(0, crashRecipients, accepted), ledger: everybody},
		{name: afterRecord, point: afterRecord, rows: each(0, crashRecipients, accepted), ledger: everybody},
		{name: afterFinish, point: afterFinish, rows: each(0, crashRecipients, accepted), ledger: everybody},
		{
			name: "in the middle of a journal line, before the final dot", point: inData,
			harm: appendText("DOT 9d8e6f"), rows: each(0, crashRecipients, accepted), ledger: everybody,
		},
		{
			name: "in the middle of a journal line, after the reply", point: inDotAccepted,
			harm: appendText("RES 9d8e6f accepted 25"), rows: one, ledger: everybody,
		},
		{
			name: "with the machine, announced and not sent", point: afterAnnounce, harm: otherBoot,
			rows: slices.Concat(each(0, crashVictim, accepted), each(crashVictim, crashVictim+crashWindow, doubted),
				each(crashVictim+crashWindow, crashRecipients, accepted)),
			ledger: slices.Delete(addresses(0, crashRecipients), crashVictim, crashVictim+crashWindow),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			jobs := w.seed(crashRecipients, 1000)
			w.killAt(test.point)
			if test.harm != nil {
				test.harm(t, w.journalDir())
			}
			w.recover(jobs[0], 0)
			w.expect(test.rows)
			sent := 0
			for _, r := range test.rows {
				if r.State == "accepted" {
					sent++
				}
			}
			w.expectJobs(done(crashRecipients, sent))
			w.expectFile(test.ledger)
			w.expectNoJournal()
		})
	}
}

// TestKilledTwice kills the worker that recovers, too, in the middle of its replay.
func TestKilledTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jobs := w.seed(crashRecipients, 1000)
	w.killAt(beforeRecord)
	w.killAt(afterRecord) // the replay's
	w.recover(jobs[0], 0)
	w.expect(each(0, crashRecipients, accepted))
	w.expectFile(addresses(0, crashRecipients))
	w.expectNoJournal()
}

// TestKilledWithItsNode loses the journal: what was announced is in doubt once the lease has run out, no more than that.
func TestKilledWithItsNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jobs := w.seed(crashRecipients, 1000)
	w.killAt(inDotAccepted)
	if err := os.RemoveAll(w.journalDir()); err != nil {
		t.Fatal(err)
	}
	w.recover(jobs[0], 2*worker.DefaultLease)
	lost := crashVictim + crashWindow
	for i, got := range w.rows() {
		want := accepted(address(i))
		if i < lost && got.State == string(campaign.StateInDoubt) {
			want = doubted(address(i))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("recipient %d (-want +got):\n%s", i, diff)
		}
	}
	w.expectFile(append(addresses(0, crashVictim+1), addresses(lost, crashRecipients)...))
}

// TestKilledOverAPolicy kills a worker that a rule had stop the campaign, and one that waits for the campaign's rate.
func TestKilledOverAPolicy(t *testing.T) {
	t.Parallel()
	begun := each(0, crashVictim, accepted)
	bounced := row{
		Email: address(crashVictim), Status: "FAILED", State: "bounced", Attempts: 1, Category: mail.CategoryPolicy, Code: 550,
	}
	cancelled := func(email string) row { return row{Email: email, Status: "FAILED", State: "cancelled"} }
	for _, test := range []struct {
		point  string
		policy campaign.Policy
		rows   []row
		// resumed is what they are once somebody resumed the campaign; nil for the same.
		resumed []row
	}{
		{
			point: afterHold, policy: campaign.Policy{Rules: []campaign.Rule{{Action: campaign.ActionPauseCampaign, Codes: []int{550}}}},
			rows:    slices.Concat(begun, each(crashVictim, crashRecipients, waiting)),
			resumed: each(0, crashRecipients, accepted),
		},
		{
			point: afterCancel, policy: campaign.Policy{Rules: []campaign.Rule{{Action: campaign.ActionFailCampaign, Codes: []int{550}}}},
			rows: slices.Concat(begun, []row{bounced}, each(crashVictim+1, crashRecipients, cancelled)),
		},
		{
			point: whileThrottled, policy: campaign.Policy{Rate: campaign.Rate{Messages: 1, Period: time.Second, Burst: 1}},
			rows: each(0, crashRecipients, accepted),
		},
	} {
		t.Run(test.point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			jobs := w.seedWith(campaign.Control{Policy: test.policy}, crashRecipients, 1000)
			w.killAt(test.point)
			w.recover(jobs[0], 0)
			w.expect(test.rows)
			w.expectNoJournal()
			if test.resumed != nil {
				if err := w.db.Resume(t.Context(), testKey, "now"); err != nil {
					t.Fatal(err)
				}
				w.recover(jobs[0], 0)
				w.expect(test.resumed)
			}
			var ledger []string
			for _, r := range w.rows() {
				if r.State == "accepted" {
					ledger = append(ledger, r.Email)
				}
			}
			w.expectFile(ledger)
		})
	}
}

// appendText writes behind the last line, where zeros may follow.
func appendText(text string) func(*testing.T, string) {
	return eachJournal(func(old []byte) []byte {
		lines := bytes.TrimRight(old, "\x00")
		return slices.Concat(lines, []byte(text), old[min(len(old), len(lines)+len(text)):])
	})
}

// otherBoot spoils the boot id, and with it the line's checksum.
func otherBoot(t *testing.T, dir string) {
	t.Helper()
	eachJournal(func(old []byte) []byte { return bytes.Replace(old, []byte("boot="), []byte("boot=9"), 1) })(t, dir)
}

func eachJournal(change func([]byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "*.journal"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no journal to harm: %v, %v", files, err)
		}
		for _, name := range files {
			old, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, change(old), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// recover starts a worker, that much later, on what the dead one left, and runs the job. Its relay has the same ledger.
func (w *world) recover(jobID string, later time.Duration) {
	w.t.Helper()
	k := w.start(func(cfg *worker.Config) {
		cfg.Sender = ledgerFile(w.dir)
		cfg.Now = func() time.Time { return time.Now().Add(later) }
		cfg.Store = skewedStore{w.store, func() time.Duration { return later }}
	})
	if err := k.Rescue(w.t.Context()); err != nil {
		w.t.Error(err)
	}
	w.run(k, jobID)
	w.stop(k)
}

// expectFile compares the ledger that outlives processes.
func (w *world) expectFile(want []string) {
	w.t.Helper()
	text, err := os.ReadFile(string(ledgerFile(w.dir)) + "/ledger")
	if err != nil {
		w.t.Fatal(err)
	}
	got := strings.Fields(string(text))
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("mails accepted by the relay (-want +got):\n%s", diff)
	}
}

// killAt runs a worker in a process of its own until it reaches the point, and kills it there.
func (w *world) killAt(point string, more ...string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), crashChildVariable+"="+point, crashDirVariable+"="+w.dir), more...)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	defer input.Close() // its end, should we fail, ends the child
	output, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil || line != "at the point\n" {
		w.t.Errorf("the worker said %q: %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		w.t.Error(err)
	}
	_ = cmd.Wait() // it was killed, which is an error
}

// crashChild is the worker that is killed.
func crashChild() {
	point, dir := os.Getenv(crashChildVariable), os.Getenv(crashDirVariable)
	if err := runCrashChild(point, dir); err != nil {
		fmt.Fprintln(os.Stderr, "worker to be killed:", err)
		os.Exit(1)
	}
}

func runCrashChild(point, dir string) error {
	ctx := context.Background()
	db, err := store.Open(ctx, "sqlite://"+filepath.Join(dir, "cartero.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	hooked := &hookedStore{Store: db}
	var announcements atomic.Int32
	recorded := make(chan struct{}, crashRecipients)
	before := map[string]string{beforeAnnounce: "Announce", beforeRecord: "Record", beforeSubmit: "Submit"}[point]
	after := map[string]string{
		afterAnnounce: "Announce", afterRecord: "Record", afterFinish: "FinishJob", afterSubmit: "Submit",
		afterHold: "HoldCampaign", afterCancel: "Cancel",
	}[point]
	at := func(point string) func(string) error {
		return func(method string) error {
			if strings.TrimSuffix(method, "Submitted") != point || method == "Announce" && announcements.Add(1) < 2 {
				return nil
			}
			for range crashWindow { // the window before it has ended
				if method == "Announce" {
					<-recorded
				}
			}
			waitToBeKilled()
			return nil
		}
	}
	hooked.hook(at(before), at(after))
	cfg := worker.Config{
		Store: hooked, Sender: crashRelay{ledgerFile(dir), point}, JournalDir: filepath.Join(dir, "journal"),
		MaxConnections: 1, Window: crashWindow,
		Hooks: worker.Hooks{OnResult: func(campaign.State, string) { recorded <- struct{}{} }},
	}
	if point == whenFull {
		cfg.Sender, cfg.Window, cfg.Hooks = fillingRelay{ledgerFile: ledgerFile(dir), refused: waitToBeKilled, first: new(sync.Once), sent: new(atomic.Int32)}, fewAtOnce, worker.Hooks{}
	}
	if point == whileThrottled {
		cfg.Rates = func(string, campaign.Rate) worker.Throttle { return &crashThrottle{recorded: recorded} }
	}
	if point == afterHold || point == afterCancel { // what became of the victim is not in the database yet
		cfg.FlushSize, cfg.FlushInterval = crashVictim, time.Hour
	}
	if point == beforeRecord || point == afterRecord { // a group of four: the victim's result is the last in it
		cfg.FlushSize, cfg.FlushInterval = crashVictim+1, time.Hour
	}
	k, err := worker.New(cfg)
	if err != nil {
		return err
	}
	if err := k.Start(ctx); err != nil {
		return err
	}
	if os.Getenv(crashSubmitVariable) != "" {
		var mails []campaign.Submission
		for i := range crashRecipients {
			mails = append(mails, submission(i, i+1))
		}
		if err := k.Submit(ctx, mails, func(int, worker.Delivery) {}); err != nil {
			return err
		}
		select {}
	}
	_, err = k.HandleJob(ctx, campaign.JobID(testKey, 0))
	return fmt.Errorf("the job ended before the point: %w", err)
}

// waitToBeKilled says that the point is reached, and never returns.
func waitToBeKilled() {
	fmt.Fprintln(os.Stdout, "at the point")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

// ledgerFile is a relay that accepts everything into the file ledger of a directory.
type ledgerFile string

func (l ledgerFile) accept(to string) {
	f, err := os.OpenFile(filepath.Join(string(l), "ledger"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(to + "\n")
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		panic(err)
	}
}

func (l ledgerFile) Send(_ context.Context, envelope mail.Envelope, _ []byte, beforeDot func() error) mail.Verdict {
	if err := beforeDot(); err != nil {
		return vetoed()
	}
	l.accept(envelope.To)
	return mail.Verdict{Outcome: mail.Sent, Phase: mail.PhaseDot, Code: 250}
}

func (l ledgerFile) Close() error { return nil }

// crashRelay dies with its victim at a point of the dialogue.
type crashRelay struct {
	ledgerFile
	point string
}

// crashThrottle lets three mails go, and dies over the next, once their results are in the database.
type crashThrottle struct {
	taken    int
	recorded <-chan struct{}
}

func (c *crashThrottle) Take(_ context.Context, n int) (int, time.Time, time.Duration, error) {
	if c.taken == crashVictim {
		for range crashVictim {
			<-c.recorded
		}
		waitToBeKilled()
	}
	n = min(n, crashVictim-c.taken)
	c.taken += n
	return n, time.Now(), time.Millisecond, nil
}

// nextGroup is the first recipient that is not in the first group of results: those of submitted mails are not gathered.
func nextGroup() int {
	if os.Getenv(crashSubmitVariable) != "" {
		return 1
	}
	return crashVictim + 1
}

func (r crashRelay) Send(ctx context.Context, envelope mail.Envelope, raw []byte, beforeDot func() error) mail.Verdict {
	switch to := envelope.To; {
	case to == address(crashVictim) && (r.point == afterHold || r.point == afterCancel):
		return mail.Verdict{
			Outcome: mail.Permanent, Phase: mail.PhaseRcpt, Scope: mail.ScopeRecipient, Code: 550, Category: mail.CategoryPolicy,
		}
	case to == address(crashVictim) && r.point == inData:
		waitToBeKilled()
	case to == address(crashVictim) && (r.point == inDot || r.point == inDotAccepted):
		if err := beforeDot(); err != nil {
			panic(err)
		}
		if r.point == inDotAccepted {
			r.accept(to)
		}
		waitToBeKilled()
	case to == address(nextGroup()) && (r.point == beforeRecord || r.point == afterRecord):
		<-ctx.Done() // the group of results before it is on its way
	}
	return r.ledgerFile.Send(ctx, envelope, raw, beforeDot)
}
