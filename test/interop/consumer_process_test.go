package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
)

// workerVariable makes the test binary a worker of ours, so that a test can kill it.
const workerVariable = "INTEROP_WORKER"

func TestMain(m *testing.M) {
	if settings := os.Getenv(workerVariable); settings != "" {
		if err := beWorker(settings); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// workerSettings are what a worker process is told.
type workerSettings struct {
	URL, Prefix  string
	Concurrency  int
	LockDuration time.Duration
}

// beWorker takes jobs, writes the id of each to stdout, and never finishes one. It ends when it is killed or its stdin
// is closed.
func beWorker(settings string) error {
	var s workerSettings
	if err := json.Unmarshal([]byte(settings), &s); err != nil {
		return err
	}
	client, err := conn.Open(s.URL)
	if err != nil {
		return err
	}
	queue, err := bull.New(client, bull.Config{
		Prefix: s.Prefix, Queue: queueName, LockDuration: s.LockDuration, StalledInterval: -1,
	})
	if err != nil {
		return err
	}
	var out sync.Mutex
	consumer := &bull.Consumer{
		Queue: queue, Concurrency: s.Concurrency, Logger: slog.New(slog.DiscardHandler),
		Handler: func(ctx context.Context, job *bull.Delivery) (any, error) {
			out.Lock()
			_, err := fmt.Println(job.ID)
			out.Unlock()
			if err != nil {
				return nil, err
			}
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	return consumer.Run(context.Background())
}

// victim is a worker process that holds jobs, and that will be killed.
type victim interface {
	// holds waits until it began this many jobs.
	holds(n int)
	kill()
}

// ourVictim is a process of ours.
type ourVictim struct {
	*testing.T
	cmd   *exec.Cmd
	begun chan string
}

func startOurVictim(f *fixture, jobs int, lock time.Duration) victim {
	f.Helper()
	settings, err := json.Marshal(workerSettings{f.url, f.prefix, jobs, lock})
	if err != nil {
		f.Fatal(err)
	}
	cmd := exec.Command(os.Args[0]) // it ends with its stdin
	cmd.Env = append(os.Environ(), workerVariable+"="+string(settings))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		f.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		f.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	v := &ourVictim{T: f.T, cmd: cmd, begun: make(chan string, 100)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			v.begun <- lines.Text()
		}
		_ = cmd.Wait()
	}()
	f.Cleanup(func() {
		_ = stdin.Close()
		<-ended
	})
	return v
}

func (v *ourVictim) holds(n int) {
	v.Helper()
	ctx, cancel := context.WithTimeout(v.Context(), timeout)
	defer cancel()
	for range n {
		select {
		case <-ctx.Done():
			v.Fatal("our worker process did not begin its jobs")
		case <-v.begun:
		}
	}
}

func (v *ourVictim) kill() {
	v.Helper()
	if err := v.cmd.Process.Kill(); err != nil {
		v.Fatal(err)
	}
}

// nodeVictim is a Node process.
type nodeVictim struct {
	hold func(n int)
	stop func()
}

func (v nodeVictim) holds(n int) { v.hold(n) }
func (v nodeVictim) kill()       { v.stop() }

func startNodeVictim(f *fixture, r release, jobs int, lock time.Duration) victim {
	f.Helper()
	node := f.startBull(r, setup{settings: map[string]any{"lockDuration": lock.Milliseconds(), "stalledInterval": 0}})
	node.Do("work", map[string]any{"concurrency": jobs}, nil)
	return nodeVictim{
		hold: func(n int) {
			f.Helper()
			for range n {
				node.Next("run")
			}
		},
		stop: node.Kill,
	}
}
