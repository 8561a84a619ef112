package worker_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cartero-mail/cartero/internal/worker"
)

// smallDiskVariable tells the test that it runs where it may mount.
const smallDiskVariable = "CARTERO_TEST_SMALL_DISK"

// TestJournalOnAFullDisk runs workers whose journal is on a disk of 64 KiB, which the kernel says is full in the middle of a
// line. It takes no root: the test runs itself again in a namespace in which it may mount.
func TestJournalOnAFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getenv(smallDiskVariable) == "" {
		inANamespace(t)
		return
	}
	t.Run("room is made", roomIsMade)
	t.Run("killed while it is full", killedWhileFull)
}

func inANamespace(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a namespace of its own")
	}
	// Not by SysProcAttr: for a moment that child would have every file that is open here, and the locks of other tests' journals.
	cmd := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--mount",
		os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), smallDiskVariable+"=yes")
	output, err := cmd.CombinedOutput()
	switch {
	case bytes.HasPrefix(output, []byte("unshare: ")) || errors.Is(err, exec.ErrNotFound): // as in most containers
		t.Skipf("this system forbids user and mount namespaces, which a small disk takes: %v: %s", err, output)
	case err != nil:
		t.Errorf("%v:\n%s", err, output)
	}
}

// smallDisk is a world whose journal is on a disk of its own.
func smallDisk(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	if err := os.MkdirAll(w.journalDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", w.journalDir(), "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(w.journalDir(), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) makeRoom() {
	w.t.Helper()
	if err := os.Remove(filepath.Join(w.journalDir(), ballast)); err != nil {
		w.t.Fatal(err)
	}
}

// roomIsMade: no dot goes out that the journal does not know, nobody new is claimed, the worker says that it is not ready, and all
// that ends when there is room.
func roomIsMade(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		window int
		sync   bool
		// torn is whether the disk was full in the middle of a line; else it was before a claim.
		torn bool
	}{
		{name: "one write for each line", window: fewAtOnce, torn: true},
		{name: "each line is synced", window: fullRecipients, sync: true, torn: true},
		{name: "room was made ahead", window: fullRecipients / 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := smallDisk(t)
			jobs := w.seed(fullRecipients, 1000)
			torn := 0
			var k *worker.Worker
			relay := fillingRelay{
				ledgerFile: ledgerFile(w.dir), first: new(sync.Once), sent: new(atomic.Int32),
				refused: func() { torn = len(tornJournals(t, w.journalDir())) },
			}
			if !test.torn { // the claim's journal takes its room until the next one was refused
				relay.last, relay.full = test.window, func() {
					full := func() bool { _, err := os.Stat(filepath.Join(w.journalDir(), ballast)); return err == nil }
					for full() && k.Ready() == nil {
						runtime.Gosched()
					}
				}
			}
			k = w.start(func(cfg *worker.Config) {
				cfg.Sender = relay
				cfg.MaxConnections, cfg.Window, cfg.JournalSync = 1, test.window, test.sync
			})
			if _, err := k.HandleJob(t.Context(), jobs[0]); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("HandleJob on a disk that gets full: %v", err)
			}
			if test.torn != (torn == 1) {
				t.Errorf("%d journals ended in the middle of a line", torn)
			}
			w.stopsWhileFull(k, jobs[0])
			w.makeRoom()
			w.run(k, jobs[0])
			if err := k.Ready(); err != nil {
				t.Errorf("Ready with room: %v", err)
			}
			w.stop(k)
			w.expect(each(0, fullRecipients, accepted))
			w.expectFile(addresses(0, fullRecipients))
			w.expectNoJournal()
		})
	}
}

// stopsWhileFull: on a full disk nobody is claimed, and who was not sent waits as if nothing had been.
func (w *world) stopsWhileFull(k *worker.Worker, jobID string) {
	w.t.Helper()
	fill(w.journalDir()) // what the claim had taken is free again
	if _, err := k.HandleJob(w.t.Context(), jobID); !errors.Is(err, syscall.ENOSPC) {
		w.t.Errorf("HandleJob on a full disk: %v", err)
	}
	if err := k.Ready(); !errors.Is(err, syscall.ENOSPC) {
		w.t.Errorf("Ready on a full disk: %v", err)
	}
	var want []row
	var sent []string
	for i, got := range w.rows() {
		if got.State == "accepted" {
			want, sent = append(want, accepted(address(i))), append(sent, address(i))
			continue
		}
		want = append(want, waiting(address(i)))
	}
	w.expect(want)
	w.expectFile(sent)
	if len(sent) < 2 || len(sent) > fullRecipients-2 {
		w.t.Errorf("%d mails were sent before the disk was full", len(sent))
	}
}

// killedWhileFull: half a line is what the dead worker left. Nobody is mailed twice, and in doubt is at most whose result it was.
func killedWhileFull(t *testing.T) {
	t.Parallel()
	w := smallDisk(t)
	jobs := w.seed(fullRecipients, 1000)
	w.killAt(whenFull)
	if torn := tornJournals(t, w.journalDir()); len(torn) != 1 {
		t.Errorf("%d journals end in the middle of a line, want 1", len(torn))
	}
	w.makeRoom()
	w.recover(jobs[0], 0)
	doubts := 0
	for i, got := range w.rows() {
		switch got {
		case accepted(address(i)):
		case doubted(address(i)):
			doubts++
		default:
			t.Errorf("recipient %d is %+v", i, got)
		}
	}
	if doubts > 1 {
		t.Errorf("%d recipients are in doubt, with one connection", doubts)
	}
	w.expectFile(addresses(0, fullRecipients))
	w.expectNoJournal()
}

// tornJournals are the files that end in the middle of a line.
func tornJournals(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return len(text) > 0 && text[len(text)-1] == '\n'
	})
}
