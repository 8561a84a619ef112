package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/test/faults/check"
)

// TestJudge has the program judge a run with nothing in it, and one that left a job in the queue.
func TestJudge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	database := "sqlite://" + filepath.Join(dir, "cartero.db")
	db, err := store.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	history, err := check.NewHistory(filepath.Join(dir, "history"))
	if err != nil {
		t.Fatal(err)
	}
	if err := history.Add(check.Event{Kind: check.KindQuiet}); err != nil {
		t.Fatal(err)
	}
	if err := history.Close(); err != nil {
		t.Fatal(err)
	}
	outputs, journals := filepath.Join(dir, "outputs"), filepath.Join(dir, "journals")
	for _, d := range []string{outputs, journals} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"outputs/worker.log": "Taking jobs\n", "ledger": "", "secrets": "canary7f3a\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{
		"-database", database, "-ledger", filepath.Join(dir, "ledger"), "-history", filepath.Join(dir, "history"),
		"-outputs", outputs, "-journals", journals, "-secrets", filepath.Join(dir, "secrets"), "-queue", filepath.Join(dir, "queue"), "-lossy",
	}
	for _, test := range []struct {
		waiting []string
		want    string
	}{
		{nil, "I1 to I8 hold\n"},
		{[]string{"job1"}, "I8 does not hold: 1 violations\n"},
	} {
		if err := check.WriteQueue(filepath.Join(dir, "queue"), []check.QueueKey{{Name: "bull:q:wait", Type: "list", Values: test.waiting}}); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		holds, err := run(t.Context(), args, &out)
		if err != nil || holds != (test.waiting == nil) || !strings.HasSuffix(out.String(), test.want) {
			t.Errorf("waiting %v: %v, %v\n%s", test.waiting, holds, err, out.String())
		}
	}
	if _, err := run(t.Context(), append(args, "-ledger", filepath.Join(dir, "none")), &strings.Builder{}); err == nil {
		t.Error("a run without a book is judged")
	}
}
