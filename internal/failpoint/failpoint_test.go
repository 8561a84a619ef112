package failpoint

import (
	"database/sql/driver"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"worker.dotJournaled:3:kill", "store.committed@sealing the campaign:1:error*6", "operator.beforeStatus:12:pause", "smtp.opened:1:panic",
	} {
		steps, err := Parse(text)
		if err != nil || len(steps) != 1 || steps[0].String() != text {
			t.Errorf("%q is read as %v: %v", text, steps, err)
		}
	}
	several, err := Parse(" smtp.opened:1:kill; ;store.committed@a:b:2:error ;")
	want := []Step{
		{Point: SMTPOpened, Occurrence: 1, Action: Kill, Times: 1},
		{Point: StoreCommitted, Detail: "a:b", Occurrence: 2, Action: Error, Times: 1},
	}
	if diff := cmp.Diff(want, several); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for text, problem := range map[string]string{
		"smtp.opened:kill":       "POINT",
		"smtp.opened":            "POINT",
		"smtp.nowhere:1:kill":    "no point",
		"smtp.opened:0:kill":     "occurrence",
		"smtp.opened:x:kill":     "occurrence",
		"smtp.opened:1:explode":  "no action",
		"smtp.opened:1:error*no": "times",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%q: %v, want something about %q", text, err, problem)
		}
	}
}

// inject is an Injector with a directory, whose kill is counted.
func inject(t *testing.T, plan string) (i *Injector, dir string, kills *int) {
	t.Helper()
	steps, err := Parse(plan)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if i, err = NewInjector(steps, dir); err != nil {
		t.Fatal(err)
	}
	kills = new(int)
	i.kill = func() { *kills++ }
	t.Cleanup(func() { _ = i.hits.Close() })
	return i, dir, kills
}

func TestOccurrencesAreCountedByPointAndDetail(t *testing.T) {
	t.Parallel()
	i, dir, kills := inject(t, "store.committed@sealing:2:error*2;worker.dotJournaled:1:kill")
	var got []bool
	for _, detail := range []string{"sealing", "opening", "sealing", "opening", "sealing", "sealing"} {
		got = append(got, i.Hit(StoreCommitted, detail) != nil)
	}
	if diff := cmp.Diff([]bool{false, false, true, false, true, false}, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := i.Hit(WorkerDotJournaled, ""); err != nil {
			t.Error(err)
		}
	}
	if *kills != 1 {
		t.Errorf("killed %d times", *kills)
	}
	text, err := os.ReadFile(filepath.Join(dir, hitsFile))
	want := strings.ReplaceAll("C\tsealing\nC\topening\nC\tsealing\nC\topening\nC\tsealing\nC\tsealing\n", "C", string(StoreCommitted)) +
		strings.Repeat(string(WorkerDotJournaled)+"\t\n", 2)
	if diff := cmp.Diff(want, string(text)); diff != "" || err != nil {
		t.Errorf("hits: %v (-want +got):\n%s", err, diff)
	}
	for _, name := range []string{"taken-0", "taken-1"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestErrorIsALostConnection(t *testing.T) {
	t.Parallel()
	i, _, _ := inject(t, "smtp.dotSent:1:error")
	err := i.Hit(SMTPDotSent, "")
	var network net.Error
	if !errors.As(err, &network) || !errors.Is(err, driver.ErrBadConn) {
		t.Errorf("%v is none", err)
	}
}

func TestPauseLastsUntilTheTestLetsGo(t *testing.T) {
	t.Parallel()
	i, dir, _ := inject(t, "smtp.opened:1:pause")
	over := make(chan error)
	go func() { over <- i.Hit(SMTPOpened, "") }()
	select {
	case <-over:
		t.Error("it did not wait")
	default:
	}
	if err := os.WriteFile(filepath.Join(dir, "go-0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
	if _, err := NewInjector(i.steps, ""); err == nil {
		t.Error("a pause that nobody could end was taken")
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	i, _, _ := inject(t, "smtp.opened:1:panic")
	defer func() {
		if p := recover(); p != "failpoint smtp.opened:1:panic" {
			t.Errorf("recovered %v", p)
		}
	}()
	_ = i.Hit(SMTPOpened, "")
}

// TestOff is what users get: nothing happens.
func TestOff(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	Reach(SMTPReplyRead)
	got := []error{Hit(SMTPOpened), HitFor(StoreCommitted, "sealing"), After(WorkerForgotten, nil), After(WorkerForgotten, refused)}
	if got[0] != nil || got[1] != nil || got[2] != nil || !errors.Is(got[3], refused) {
		t.Errorf("got %v", got)
	}
}
