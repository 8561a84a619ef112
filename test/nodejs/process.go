package nodejs

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Patience bounds every wait for a Node process, on a busy machine.
const Patience = 2 * time.Minute

// Event is something that a Node process tells on its own.
type Event struct {
	Event string          `json:"event"`
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
	Data  json.RawMessage `json:"data"`
}

// Process is a Node program that reads one JSON request a line from stdin, {"seq", "do", …}, and answers one JSON reply
// a line, {"seq", "value"} or {"seq", "error"}. Lines without seq are events. It ends with its input.
type Process struct {
	tb   testing.TB
	base map[string]any
	cmd  *exec.Cmd
	in   io.Writer
	// Events are buffered; a test that expects more than 10,000 must read them.
	Events chan Event
	ended  chan struct{}
	killed atomic.Bool

	mu      sync.Mutex
	seq     int
	pending map[int]chan reply
}

type reply struct {
	Seq   int             `json:"seq"`
	Value json.RawMessage `json:"value"`
	Error string          `json:"error"`
	Event
}

// Start runs a script of the folder test/interop. base is part of every request; env are more variables, as NAME=value.
func Start(tb testing.TB, script string, base map[string]any, env ...string) *Process {
	tb.Helper()
	cmd := exec.Command("node", script)
	cmd.Dir = Dir(tb)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	p := &Process{
		tb: tb, base: base, cmd: cmd, in: in,
		Events: make(chan Event, 10_000), ended: make(chan struct{}), pending: map[int]chan reply{},
	}
	go func() {
		defer close(p.ended)
		p.read(out)
		if err := cmd.Wait(); err != nil && !p.killed.Load() {
			tb.Errorf("the Node process of %s: %v", script, err)
		}
	}()
	tb.Cleanup(func() {
		_ = in.Close()
		<-p.ended
	})
	return p
}

// Kill ends the process with SIGKILL and waits until it is gone. What it was asked is not answered.
func (p *Process) Kill() {
	p.killed.Store(true)
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (p *Process) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r reply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			p.tb.Errorf("the Node process wrote %q", lines.Text())
			continue
		}
		if r.Seq == 0 {
			r.Event.Value = r.Value
			p.Events <- r.Event
			continue
		}
		p.mu.Lock()
		pending := p.pending[r.Seq]
		delete(p.pending, r.Seq)
		p.mu.Unlock()
		pending <- r
	}
}

// Begin sends a request; the returned function waits for its reply and decodes it into value, if that is not nil.
func (p *Process) Begin(do string, args map[string]any) (wait func(value any)) {
	p.tb.Helper()
	done := p.send(do, args)
	return func(value any) {
		p.tb.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		select {
		case <-ctx.Done():
			p.tb.Fatalf("Node did not answer %q", do)
		case <-p.ended:
			p.tb.Fatalf("the Node process ended before it answered %q", do)
		case r := <-done:
			p.decode(do, r, value)
		}
	}
}

func (p *Process) send(do string, args map[string]any) <-chan reply {
	p.tb.Helper()
	request := map[string]any{"do": do}
	maps.Copy(request, p.base)
	maps.Copy(request, args)
	done := make(chan reply, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	request["seq"] = p.seq
	p.pending[p.seq] = done
	line, err := json.Marshal(request)
	if err != nil {
		p.tb.Fatal(err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		p.tb.Fatal(err)
	}
	return done
}

func (p *Process) decode(do string, r reply, value any) {
	p.tb.Helper()
	if r.Error != "" {
		p.tb.Fatalf("Node's %s: %s", do, r.Error)
	}
	if value == nil {
		return
	}
	if err := json.Unmarshal(r.Value, value); err != nil {
		p.tb.Fatalf("Node's %s answered %s: %v", do, r.Value, err)
	}
}

// Do sends a request and waits for its reply.
func (p *Process) Do(do string, args map[string]any, value any) {
	p.tb.Helper()
	p.Begin(do, args)(value)
}

// Next waits for an event of this kind and skips others.
func (p *Process) Next(kind string) Event {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			p.tb.Fatalf("Node did not tell of %q", kind)
		case e := <-p.Events:
			if e.Event == kind {
				return e
			}
		}
	}
}
