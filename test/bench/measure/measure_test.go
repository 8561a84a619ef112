package measure

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var program = Program{Children: map[string]func(context.Context, io.Reader, io.Writer) error{
	SinkChild: ServeSink,
	"echo": func(_ context.Context, in io.Reader, out io.Writer) error {
		return Answer(in, out, func(text string) (any, error) {
			if text == "" {
				return nil, errors.New("nothing to say")
			}
			return []string{text}, nil
		})
	},
}}

func TestMain(m *testing.M) { program.TestMain(m) }

func TestTable(t *testing.T) {
	t.Parallel()
	table := NewTable("", "first", "second")
	if !table.Empty() {
		t.Error("a table of heads alone is not empty")
	}
	table.Section("A TITLE THAT IS LONGER THAN ALL CELLS")
	table.Row("µs", NewSeries([]float64{2, 1, 3}).Text(0), "x")
	table.Row("long name", Series{}.Text(0), "")
	var out bytes.Buffer
	if err := table.Print(&out); err != nil {
		t.Fatal(err)
	}
	want := "             first    second\n" +
		"A TITLE THAT IS LONGER THAN ALL CELLS\n" +
		"  µs         2 (1–3)  x\n" +
		"  long name  –\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSeries(t *testing.T) {
	t.Parallel()
	got := NewSeries([]float64{5, 1, 4, 2, 3})
	want := Series{Median: 3, Min: 1, Max: 5, Values: []float64{5, 1, 4, 2, 3}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if spread := got.Spread(); spread != 4.0/3 {
		t.Errorf("spread: got %v", spread)
	}
	if got := Quantile([]float64{1, 2, 3, 4}, 0.99); got != 4 {
		t.Errorf("p99: got %v", got)
	}
}

// TestAccount: everybody once, somebody twice, somebody not at all, and a stranger.
func TestAccount(t *testing.T) {
	t.Parallel()
	account := newAccount(5, 3)
	for _, to := range []string{"5.a@b.example", "6", "0006reader@b.example", "8@b.example", "reader@b.example"} {
		account.mail([]byte(to), 10)
	}
	got := account.report()
	got.Slots = nil
	want := Ledger{Mails: 5, Once: 1, Twice: 1, Missing: 1, Strangers: 2, Octets: 10}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Check() == nil || (Ledger{Mails: 2, Once: 2}).Check() != nil {
		t.Error("a ledger is judged wrongly")
	}
}

// TestSinkProcess: the sink of another process, over a line with a round trip, as a client sees it that waits for each
// reply.
func TestSinkProcess(t *testing.T) {
	t.Parallel()
	s, err := StartSink()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Expect(1, 1, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, "HELO me\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<1@b.example>\r\nDATA\r\nText\r\n.\r\nQUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	got, err := s.Report()
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Check(); err != nil || got.Mails != 1 || got.Octets != 6 {
		t.Errorf("%+v: %v", got, err)
	}
}

// TestChild: answers, errors, and processor time and memory of a process that is there.
func TestChild(t *testing.T) {
	t.Parallel()
	child, err := StartSelf("echo")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := child.Ask("hello", &got); err != nil || !cmp.Equal(got, []string{"hello"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := child.Ask("", nil); err == nil || !strings.Contains(err.Error(), "nothing to say") {
		t.Errorf("a failure: got %v", err)
	}
	if now, most := Memory(child.PID()); now <= 0 || most < now {
		t.Errorf("memory: %v, at most %v", now, most)
	}
	if err := child.Close(); err != nil {
		t.Error(err)
	}
	if got := CPU(os.Getpid(), 0); got < 0 {
		t.Errorf("processor time: %v", got)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want string // in the error; empty for none
	}{
		"all":         {[]string{"-redis", "r", "-database", "d", "-rounds", "5", "-run", "a|b"}, ""},
		"no database": {[]string{"-redis", "r", "-database", ""}, "make bench-it"},
		"even":        {[]string{"-redis", "r", "-database", "d", "-rounds", "4"}, "odd"},
		"pattern":     {[]string{"-redis", "r", "-database", "d", "-run", "("}, "-run"},
		"argument":    {[]string{"-redis", "r", "-database", "d", "x"}, "unexpected"},
	} {
		f := NewFlags("bench-it", io.Discard).Program().Servers(true).Repeated(3).Chosen("steps")
		err := f.Parse(c.args)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
