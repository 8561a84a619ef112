package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/internal/queue/redistest"
	"github.com/cartero-mail/cartero/test/nodejs"
)

const (
	nodeNew = "bull"      // 4.16.5
	nodeOld = "bull-4.10" // 4.10.4
	ours    = ""
)

// fleet is a queue with workers on it.
type fleet struct {
	*testing.T

	settings settings // what all members have in common
	base     string   // of all keys
	redis    redis.UniversalClient
	queue    *bull.Queue
	members  []*member
}

// newFleet is for a queue on the Redis of these settings, which have URL, or more, in them.
func newFleet(t *testing.T, s settings) *fleet {
	t.Helper()
	if s.Queue == "" {
		s.Prefix, s.Queue = "{fleet}", "mail"
	}
	if s.Concurrency == 0 {
		s.Concurrency = 10
	}
	if s.LockMS == 0 {
		s.LockMS, s.StalledMS, s.MaxStalled = 30_000, 30_000, 1
	}
	if s.GuardMS == 0 {
		s.GuardMS = 500
	}
	client, err := conn.Open(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	queue, err := bull.New(client, s.config())
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{T: t, settings: s, base: s.Prefix + ":" + s.Queue + ":", redis: client, queue: queue}
}

// server is the server that has the queue; of a cluster, the master of its slot.
func (f *fleet) server(ctx context.Context) (redis.UniversalClient, error) {
	if cluster, ok := f.redis.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, f.base+"wait")
	}
	return f.redis, nil
}

func needsServers(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Redis servers and Node.js")
	}
}

// member is a process of the fleet.
type member struct {
	*fleet

	settings settings
	process  *exec.Cmd
	input    io.Closer
	ended    chan struct{}
	killed   *atomic.Bool // this process, by us
}

// join starts a worker. bull is the package that it runs, or ours. change may be nil.
func (f *fleet) join(name, bull string, change func(*settings)) *member {
	f.Helper()
	m := f.newMember(name, bull)
	if change != nil {
		change(&m.settings)
	}
	f.members = append(f.members, m)
	m.start()
	return m
}

func (f *fleet) newMember(name, bull string) *member {
	f.Helper()
	m := &member{fleet: f, settings: f.settings}
	m.settings.Name, m.settings.Bull = name, bull
	m.settings.Record = filepath.Join(f.TempDir(), name)
	if bull != ours && (m.settings.Cluster != nil || m.settings.Sentinels != nil) {
		m.settings.URL = ""
	}
	f.Cleanup(m.kill)
	return m
}

// start starts the process, also after it was killed.
func (m *member) start() {
	m.Helper()
	text, err := json.Marshal(m.settings)
	if err != nil {
		m.Fatal(err)
	}
	if m.settings.Bull == ours {
		m.process = exec.Command(os.Args[0])
	} else {
		m.process = exec.Command("node", "fleet/member.js")
		m.process.Dir = nodejs.Dir(m)
	}
	// Under the race detector, a race in a member ends it.
	m.process.Env = append(os.Environ(), settingsVariable+"="+string(text), "GORACE=halt_on_error=1")
	m.process.Stderr = os.Stderr
	if m.input, err = m.process.StdinPipe(); err == nil {
		err = m.process.Start()
	}
	if err != nil {
		m.Fatal(err)
	}
	process, ended, killed := m.process, make(chan struct{}), &atomic.Bool{}
	m.ended, m.killed = ended, killed
	go func() {
		defer close(ended)
		if err := process.Wait(); m.settings.Produce == nil && !killed.Load() {
			m.Errorf("%s ended by itself: %v", m.settings.Name, err)
		}
	}()
}

// kill ends the process with SIGKILL.
func (m *member) kill() {
	if m.process == nil {
		return
	}
	m.killed.Store(true)
	_ = m.process.Process.Kill()
	<-m.ended
	m.process = nil
}

// kind is "Node" or "Go".
func (m *member) kind() string {
	if m.settings.Bull == ours {
		return "Go"
	}
	return "Node"
}

// produceNode has a Node process add jobs, and returns a function that waits for its end.
func (f *fleet) produceNode(bull, name string, jobs batch) (wait func() []string) {
	f.Helper()
	m := f.newMember(name, bull)
	m.settings.Produce = &jobs
	m.start()
	ids := make([]string, jobs.Count)
	for i := range ids {
		ids[i] = name + "-" + strconv.Itoa(jobs.From+i)
	}
	return func() []string {
		<-m.ended
		if !m.process.ProcessState.Success() {
			f.Fatalf("the producer %s failed", name)
		}
		return ids
	}
}

// produceGo adds jobs with ids of this form, all with the same options.
func (f *fleet) produceGo(name string, count int, opts bull.Opts) []string {
	f.Helper()
	ids, jobs := make([]string, count), make([]bull.Job, count)
	for i := range jobs {
		ids[i] = name + "-" + strconv.Itoa(i)
		jobs[i] = bull.Job{ID: ids[i], Data: []byte(`{"jobUuid":"` + ids[i] + `"}`), Opts: opts}
	}
	if _, err := f.queue.AddBulk(f.Context(), jobs); err != nil {
		f.Fatal(err)
	}
	return ids
}

// await waits until this many workers wait for jobs: each with one connection.
func (f *fleet) await(workers int) {
	f.Helper()
	redistest.Eventually(f, "the workers are there", func(ctx context.Context) error {
		server, err := f.server(ctx)
		if err != nil {
			return err
		}
		info, err := server.Info(ctx, "clients").Result()
		if err == nil && !strings.Contains(info, fmt.Sprintf("blocked_clients:%d\r\n", workers)) {
			err = errors.New(info)
		}
		return err
	})
}

// awaitFinished waits until this many jobs are completed or failed.
func (f *fleet) awaitFinished(n int) {
	f.Helper()
	redistest.Eventually(f, fmt.Sprintf("%d jobs are finished", n), func(ctx context.Context) error {
		c, err := f.queue.Counts(ctx)
		if err == nil && int(c.Completed+c.Failed) < n {
			err = fmt.Errorf("%+v", c)
		}
		return err
	})
}

// run is one start of a job, as a worker has recorded it.
type run struct {
	kind     string // Node or Go
	name     string // of the worker
	attempts int
	at       int64 // ms, on the true clock
}

// runs reads what all workers have recorded, by job.
func (f *fleet) runs() map[string][]run {
	f.Helper()
	all := map[string][]run{}
	for _, m := range f.members {
		for line := range strings.Lines(m.read()) {
			var id string
			r := run{kind: m.kind(), name: m.settings.Name}
			if _, err := fmt.Sscanf(line, "start %s %d %d", &id, &r.attempts, &r.at); err != nil {
				f.Fatalf("%s recorded %q", m.settings.Name, line)
			}
			all[id] = append(all[id], r)
		}
	}
	return all
}

// read returns what a member has recorded.
func (m *member) read() string {
	m.Helper()
	text, err := os.ReadFile(m.settings.Record)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.Fatal(err)
	}
	return string(text)
}

// ends counts, by job, the events that tell that it completed or failed, from now on.
func (f *fleet) ends() (stop func() map[string]int) {
	f.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	heard := f.redis.Subscribe(ctx, f.base+"completed", f.base+"failed")
	if _, err := heard.Receive(ctx); err != nil {
		f.Fatal(err)
	}
	if _, err := heard.Receive(ctx); err != nil {
		f.Fatal(err)
	}
	counts := map[string]int{}
	var done sync.WaitGroup
	done.Go(func() {
		for counts["last"] == 0 {
			message, err := heard.ReceiveMessage(ctx)
			if err != nil {
				f.Errorf("hearing of finished jobs: %v", err)
				return
			}
			var event struct{ JobID string }
			if json.Unmarshal([]byte(message.Payload), &event) == nil {
				counts[event.JobID]++
			}
		}
	})
	f.Cleanup(cancel)
	return func() map[string]int {
		if err := f.redis.Publish(ctx, f.base+"completed", `{"jobId":"last"}`).Err(); err != nil {
			f.Fatal(err)
		}
		done.Wait()
		_ = heard.Close()
		delete(counts, "last")
		return counts
	}
}
