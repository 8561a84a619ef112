package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp"
	"github.com/cartero-mail/cartero/test/faults/ledger"
)

// serveVariable makes the test binary the program, with these arguments.
const serveVariable = "CARTERO_TEST_LEDGER_SERVE"

func TestMain(m *testing.M) {
	if args := os.Getenv(serveVariable); args != "" {
		if err := run(strings.Split(args, "\n"), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// program is one life of the relay.
type program struct {
	*exec.Cmd

	input   io.WriteCloser
	address string
}

func start(t *testing.T, args ...string) program {
	t.Helper()
	p := program{Cmd: exec.CommandContext(t.Context(), os.Args[0])}
	p.Env = append(os.Environ(), serveVariable+"="+strings.Join(args, "\n"))
	p.Stderr = os.Stderr
	var err error
	if p.input, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	output, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatalf("the relay said %q: %v", line, err)
	}
	p.address = strings.TrimSpace(strings.TrimPrefix(line, "Listening at "))
	return p
}

func send(t *testing.T, address, to string) mail.Outcome {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := smtp.NewPool(smtp.Config{Host: host, Port: number, HELO: "worker.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	envelope := mail.Envelope{From: "news@example.com", To: to}
	return pool.Send(t.Context(), envelope, []byte("Message-ID: <1@example.com>\r\n\r\nNews.\r\n"), func() error { return nil }).Outcome
}

// TestKilled kills the relay and starts it again where it was, with the same book.
func TestKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	first := start(t, "-book", path)
	if got := send(t, first.address, "ada@example.org"); got != mail.Sent {
		t.Errorf("the first mail is %s", got)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed, which is an error
	second := start(t, "-book", path, "-listen", first.address)
	if got := send(t, second.address, "dropafterdot+bob@example.org"); got != mail.Uncertain {
		t.Errorf("the second mail is %s", got)
	}
	if err := second.input.Close(); err != nil { // its end
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil {
		t.Errorf("the relay ended with %v", err)
	}
	entries, torn, err := ledger.Read(path)
	if err != nil || torn != 0 {
		t.Fatalf("reading the book: %d torn lines, %v", torn, err)
	}
	type booked struct {
		Number   int
		Key      string
		Accepted bool
	}
	var got []booked
	for _, e := range entries {
		got = append(got, booked{e.Number, e.Key, e.Accepted})
	}
	want := []booked{{1, ledger.Key("ada@example.org"), true}, {2, ledger.Key("dropafterdot+bob@example.org"), true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the book (-want +got):\n%s", diff)
	}
}
