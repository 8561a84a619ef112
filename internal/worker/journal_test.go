package worker

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

func newJournal(t *testing.T, dir string, syncWrites bool) *journal {
	t.Helper()
	j, err := openJournal(dir, syncWrites, testNow)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func newFile(t *testing.T, j *journal, token string) *journalFile {
	t.Helper()
	return newFileFor(t, j, token, 0)
}

func newFileFor(t *testing.T, j *journal, token string, recipients int) *journalFile {
	t.Helper()
	f, err := j.create(token, "job-1", recipients)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func sealLine(line string) string { return string(appendSeal([]byte(line), 0)) }

// theDead is the one file whose writer is dead. A program that another test starts has what is open here for a moment, and
// with it the lock.
func theDead(t *testing.T, j *journal) *deadFile {
	t.Helper()
	for ctx, stop := context.WithTimeout(t.Context(), time.Minute); ; runtime.Gosched() {
		dead, err := j.dead()
		switch {
		case err != nil || len(dead) > 1 || ctx.Err() != nil:
			t.Fatalf("dead files: %v, %v", dead, err)
		case len(dead) == 1:
			stop()
			return dead[0]
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := []string{}
	for _, e := range entries {
		found = append(found, e.Name())
	}
	return found
}

func someResults() []campaign.Result {
	next := testNow.Add(time.Hour)
	return []campaign.Result{
		{RecipientID: "r-1", State: campaign.StateAccepted, CountAttempt: true, Code: 250, EnhancedCode: "2.0.0", At: testNow},
		{
			RecipientID: "r-2", State: campaign.StateDeferred, CountAttempt: true, NextAttemptAt: &next, Code: 451,
			Category: mail.CategoryRateLimited, At: testNow,
		},
		{RecipientID: "odd id – with \"signs\" and % 1", State: campaign.StatePending, At: testNow},
		{
			RecipientID: "-", State: campaign.StateBounced, CountAttempt: true, Code: 550, EnhancedCode: "5.1.1",
			Category: mail.CategoryBadMailbox, At: testNow,
		},
	}
}

func TestJournalSaysWhatWasWritten(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		sync       bool
		recipients int
		// harm is done to the file after the first result.
		harm func(t *testing.T, f *journalFile)
	}{
		{name: "with a system call for each line", recipients: 1},
		{name: "synced", sync: true, recipients: minMapped},
		{name: "where there is room", recipients: minMapped},
		{name: "where room is used up", recipients: minMapped, harm: func(t *testing.T, f *journalFile) {
			t.Helper()
			for f.room != nil {
				if err := f.dot("r-1"); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{name: "where room was lost", recipients: minMapped, harm: func(t *testing.T, f *journalFile) {
			t.Helper()
			whole, err := os.ReadFile(f.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(f.path, 0); err != nil { // touching the room is a fault from now on
				t.Fatal(err)
			}
			if err := f.dot("r-2"); err != nil {
				t.Fatal(err)
			}
			copied, err := os.OpenFile(f.path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer copied.Close()
			if _, err := copied.Write(bytes.TrimRight(whole, "\x00")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "made", "by us")
			j := newJournal(t, dir, test.sync)
			testJournalSays(t, dir, j, newFileFor(t, j, "token-1", test.recipients), test.harm)
		})
	}
}

func testJournalSays(t *testing.T, dir string, j *journal, f *journalFile, harm func(*testing.T, *journalFile)) {
	t.Helper()
	for i, r := range someResults() {
		if i == 1 && harm != nil {
			harm(t, f)
		}
		if err := f.dot(r.RecipientID); err != nil {
			t.Fatal(err)
		}
		if err := f.result(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.dot("r-9"); err != nil {
		t.Fatal(err)
	}

	if dead, err := j.dead(); err != nil || len(dead) != 0 {
		t.Fatalf("dead files while the writer lives: %v, %v", dead, err)
	}
	f.abandon()
	dead := theDead(t, j)
	got, err := dead.read()
	if err != nil {
		t.Fatal(err)
	}
	want := journalled{
		token: "token-1", jobID: "job-1", boot: bootID(), sync: j.sync,
		dots:    []string{"r-1", "r-2", "odd id – with \"signs\" and % 1", "-", "r-9"},
		results: map[string]campaign.Result{},
	}
	for _, r := range someResults() {
		want.results[r.RecipientID] = r
	}
	opts := []cmp.Option{cmp.AllowUnexported(journalled{}), cmpopts.IgnoreFields(campaign.Result{}, "Detail")}
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
	if again, err := j.dead(); err != nil || len(again) != 0 {
		t.Errorf("a file that is being replayed was taken twice: %v, %v", again, err)
	}
	if err := dead.remove(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{}, names(t, dir)); diff != "" {
		t.Errorf("files left (-want +got):\n%s", diff)
	}
}

func TestJournalHoldsNoAddresses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newFile(t, newJournal(t, dir, false), "token-1")
	defer f.abandon()
	err := f.result(campaign.Result{RecipientID: "r", State: campaign.StateBounced, Detail: "no such user: ana@example.com", At: testNow})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "token-1"+journalSuffix))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsRune(text, '@') || bytes.Contains(text, []byte("example")) {
		t.Errorf("the journal quotes an address:\n%s", text)
	}
}

// TestParseJournalCutAnywhere cuts a journal at every byte: it always reads as a prefix of what was written, and never
// forgets a DOT of which the next line is there.
func TestParseJournalCutAnywhere(t *testing.T) {
	t.Parallel()
	var whole strings.Builder
	whole.WriteString(sealLine("CARTERO-JOURNAL 1 boot=b pid=1 start=2 sync=0") + sealLine("CLAIM t j"))
	whole.WriteString(sealLine("DOT r-1") + sealLine("RES r-1 accepted 250 2.0.0 - 1 0 1000") + sealLine("DOT r-2"))
	text := whole.String()
	for end := range len(text) {
		got, err := parseJournal(strings.NewReader(text[:end]))
		if err != nil {
			t.Fatalf("cut at %d: %v", end, err)
		}
		lines := strings.Count(text[:end], "\n")
		if want := min(1, max(0, lines-2)); lines < 5 && len(got.dots) < want {
			t.Errorf("cut at %d: %d dots, want at least %d", end, len(got.dots), want)
		}
		if _, known := got.results["r-1"]; !known && lines >= 4 {
			t.Errorf("cut at %d: the result is missing", end)
		}
		if got.invalid > 1 {
			t.Errorf("cut at %d: %d torn lines", end, got.invalid)
		}
	}
}

func TestParseJournalSkipsWhatIsTorn(t *testing.T) {
	t.Parallel()
	text := sealLine("CLAIM t j") + "DOT r-1 7f\n" + "\x00\x00\x00\n" + "DO" + "\n" + sealLine("DOT r-2") +
		sealLine("RES r-2 flying 250 - - 1 0 1000") + sealLine("RES r-3 deferred 450 - - 1 0 1000") + sealLine("RES r-4 accepted x - - 1 0 1000") +
		sealLine("NEWS r-5")
	got, err := parseJournal(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := journalled{jobID: "j", dots: []string{"r-2"}, results: map[string]campaign.Result{}, invalid: 7}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(journalled{})); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
}

func TestJournalComplete(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		j    journalled
		boot string
		want bool
	}{
		{"same boot", journalled{boot: "a"}, "a", true},
		{"the machine was started anew", journalled{boot: "a"}, "b", false},
		{"started anew, each dot synced", journalled{boot: "a", sync: true}, "b", true},
		{"a system without boot ids", journalled{}, "", false},
		{"a head that was lost", journalled{}, "a", false},
	} {
		if got := test.j.complete(test.boot); got != test.want {
			t.Errorf("%s: complete = %t, want %t", test.name, got, test.want)
		}
	}
}

func TestReplayResults(t *testing.T) {
	t.Parallel()
	accepted := campaign.Result{RecipientID: "d-accepted", State: campaign.StateAccepted, CountAttempt: true, Code: 250, At: testNow}
	j := journalled{
		dots:    []string{"b-dotted", "d-accepted", "f-not-held"},
		results: map[string]campaign.Result{"d-accepted": accepted},
	}
	held := map[string]bool{"a-claimed": false, "b-dotted": true, "c-announced": true, "d-accepted": true}
	for _, test := range []struct {
		name     string
		complete bool
		want     []campaign.Result
	}{
		{"complete", true, []campaign.Result{inDoubt("b-dotted", testNow), givenBack("c-announced", testNow), accepted}},
		{"incomplete", false, []campaign.Result{inDoubt("b-dotted", testNow), inDoubt("c-announced", testNow), accepted}},
	} {
		if diff := cmp.Diff(test.want, replayResults(j, held, test.complete, testNow)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestJournalOfAWriterThatDiedEarly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token-1"+journalSuffix+newSuffix), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "somebody else's"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dead, err := newJournal(t, dir, false).dead()
	if err != nil || len(dead) != 1 || !dead[0].headless() {
		t.Fatalf("dead files: %v, %v", dead, err)
	}
	dead[0].close()
}

func TestJournalSurvivesAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := newJournal(t, dir, false)
	f := newFile(t, j, "token-1")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		full = closedFile(t) // no such device on this system: any failing write will do
	}
	good := f.file
	f.file = full
	if err := f.dot("r-1"); err == nil {
		t.Error("a DOT that could not be written was let go")
	}
	if j.err() == nil {
		t.Error("the journal does not say that it is broken")
	}
	f.file = good
	if err := f.dot("r-2"); err != nil {
		t.Fatal(err)
	}
	_ = full.Close()
	if err := newFile(t, j, "token-2").remove(); err != nil || j.err() != nil {
		t.Errorf("the journal did not recover: %v, %v", err, j.err())
	}
	f.abandon()

	dead := theDead(t, j)
	defer dead.close()
	got, err := dead.read()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"r-2"}, got.dots); diff != "" {
		t.Errorf("dots (-want +got):\n%s", diff)
	}
}

func closedFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "closed"))
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	return f
}

func TestJournalCreateYieldsToAReplayer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := newJournal(t, dir, false)
	// A replayer of another process holds the new file's lock at the first try.
	path := filepath.Join(dir, "token-1"+journalSuffix+newSuffix)
	other, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	f, err := j.create("token-1", "job-1", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.remove(); err != nil {
		t.Error(err)
	}
}

func TestOpenJournalRefusesADirectoryItCannotWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(path, false, testNow); err == nil {
		t.Error("a file was taken for a directory")
	}
}
