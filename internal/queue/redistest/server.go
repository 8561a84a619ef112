// Package redistest is test support: Redis servers of a test's own, alone, as a cluster, or watched by Sentinels, which
// the test may kill and start again. It is imported from _test.go files only.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/conn"
)

// patience bounds every wait for a server, on a busy machine.
const patience = 2 * time.Minute

// Server is a redis-server process.
type Server struct {
	tb   testing.TB
	port int
	dir  string
	args []string

	process *exec.Cmd
	guard   io.WriteCloser
	ended   chan struct{}
}

// Start starts a server on a free port of 127.0.0.1, with a directory of its own, and waits until it answers. args are
// settings, such as "--appendonly", "yes". It is killed at the end of the test.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := prepare(tb, args...)
	s.Start()
	return s
}

func prepare(tb testing.TB, args ...string) *Server {
	tb.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		tb.Fatal("this test needs servers of its own, and `redis-server` is not in PATH")
	}
	s := &Server{tb: tb, port: freePort(tb), dir: tb.TempDir(), args: args}
	tb.Cleanup(s.Kill)
	return s
}

// freePort finds a port that nobody listens on, nor on the one that a cluster takes for its bus. It is below those that
// the system hands out to clients, so that a server that is started again finds it free.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 1000 {
		port := 12000 + rand.N(18000)
		if free(port) && free(port+10000) {
			return port
		}
	}
	tb.Fatal("no free port found")
	return 0
}

func free(port int) bool {
	listener, err := net.Listen("tcp", local(port))
	if err != nil {
		return false
	}
	_ = listener.Close()
	return true
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Addr is the server's host:port.
func (s *Server) Addr() string { return local(s.port) }

// URL is the server's redis:// URL.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Start starts the server again, on the same port and with what it has written, and waits until it answers.
func (s *Server) Start() {
	s.tb.Helper()
	args := append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "",
		"--logfile", filepath.Join(s.dir, "log"), "--maxmemory-policy", "noeviction",
	}, s.args...)
	s.run(args)
}

func (s *Server) run(args []string) {
	s.tb.Helper()
	s.process = exec.Command("redis-server", args...)
	if err := s.process.Start(); err != nil {
		s.tb.Fatal(err)
	}
	process, ended := s.process, make(chan struct{})
	s.ended = ended
	go func() {
		defer close(ended)
		_ = process.Wait() // it is told to end by a signal
	}()
	s.watch(process.Process.Pid)

	client := s.Client()
	defer func() { _ = client.Close() }()
	Eventually(s.tb, "the server answers", func(ctx context.Context) error {
		select {
		case <-ended:
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.tb.Fatalf("redis-server ended:\n%s", text)
		default:
		}
		return client.Ping(ctx).Err()
	})
}

// watch has the server killed if this process ends without doing so: then the guard's input ends without a word.
func (s *Server) watch(pid int) {
	guard := exec.Command("sh", "-c", `read -r word || kill -9 "$1"`, "guard", strconv.Itoa(pid))
	input, err := guard.StdinPipe()
	if err == nil {
		err = guard.Start()
	}
	if err != nil {
		s.tb.Fatal(err)
	}
	s.guard = input
	go func() { _ = guard.Wait() }()
}

// Kill ends the server with SIGKILL, if it runs, and waits until it is gone.
func (s *Server) Kill() { s.end(os.Kill) }

// Stop ends the server in good order, and waits until it is gone.
func (s *Server) Stop() { s.end(os.Interrupt) }

func (s *Server) end(signal os.Signal) {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(signal) // it may have ended by itself
	<-s.ended
	_, _ = io.WriteString(s.guard, "ended\n")
	_ = s.guard.Close()
	s.process = nil
}

// Client returns a client of this one server, which the caller closes.
func (s *Server) Client() redis.UniversalClient {
	s.tb.Helper()
	client, err := conn.Open(s.URL())
	if err != nil {
		s.tb.Fatal(err)
	}
	return client
}

// Eventually waits until a condition on servers, which are other processes, holds: until it returns no error.
func Eventually(tb testing.TB, what string, holds func(ctx context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			tb.Fatalf("gave up waiting: %s: %v", what, err)
		case <-tick.C:
		}
	}
}

// do sends commands to this server and fails the test if one fails.
func (s *Server) do(commands ...[]any) {
	s.tb.Helper()
	client := s.Client()
	defer func() { _ = client.Close() }()
	var errs []error
	for _, command := range commands {
		if err := client.Do(s.tb.Context(), command...).Err(); err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", command[:min(3, len(command))], err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		s.tb.Fatal(err)
	}
}
