// Package interop holds Cartero's queue against the real Bull.
package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// timeout bounds every wait for the Node process.
const timeout = time.Minute

// install makes sure of node_modules, once.
var install = sync.OnceValue(func() error {
	if _, err := exec.LookPath("node"); err != nil {
		return errors.New("these tests need Node.js 18 or newer (the real Bull runs on it), and `node` is not in PATH")
	}
	if _, err := os.Stat("node_modules/bull/package.json"); err == nil {
		return nil
	}
	var output bytes.Buffer
	// Not `npm ci`: it insists on the optional binaries of every platform, which not every registry holds. This takes
	// the versions of the lock file too, and leaves that file alone.
	cmd := exec.Command("npm", "install", "--no-save", "--omit=optional", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return errors.New("npm install in test/interop: " + err.Error() + "\n" + output.String())
	}
	return nil
})

// event is something that Bull told a listener, or a run that its worker began.
type event struct {
	Event string          `json:"event"`
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
	Data  json.RawMessage `json:"data"`
}

// node is a Node process with the real Bull on one queue.
type node struct {
	t      *testing.T
	base   map[string]any
	in     io.Writer
	events chan event

	mu      sync.Mutex
	seq     int
	pending map[int]chan reply
}

type reply struct {
	Seq   int             `json:"seq"`
	Value json.RawMessage `json:"value"`
	Error string          `json:"error"`
	event
}

// startNode starts a process for a queue. settings are Bull's advanced settings.
func startNode(t *testing.T, url, prefix, queue string, settings map[string]any) *node {
	t.Helper()
	if err := install(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "driver.js")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := &node{
		t: t, in: in, events: make(chan event, 1000), pending: map[int]chan reply{},
		base: map[string]any{"url": url, "prefix": prefix, "name": queue, "settings": settings},
	}
	var reading sync.WaitGroup
	reading.Go(func() { n.read(out) })
	t.Cleanup(func() {
		_ = in.Close() // the driver ends with its input
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the Node process: %v", err)
		}
	})
	return n
}

func (n *node) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r reply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			n.t.Errorf("the Node process wrote %q", lines.Text())
			continue
		}
		if r.Seq == 0 {
			r.event.Value = r.Value
			n.events <- r.event
			continue
		}
		n.mu.Lock()
		pending := n.pending[r.Seq]
		n.mu.Unlock()
		pending <- r
	}
}

// begin sends a request; the returned function waits for its reply and decodes it into value, if that is not nil.
func (n *node) begin(do string, args map[string]any) (wait func(value any)) {
	n.t.Helper()
	request := map[string]any{"do": do}
	maps.Copy(request, n.base)
	maps.Copy(request, args)
	done := make(chan reply, 1)
	n.mu.Lock()
	n.seq++
	request["seq"] = n.seq
	n.pending[n.seq] = done
	n.mu.Unlock()
	line, err := json.Marshal(request)
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := n.in.Write(append(line, '\n')); err != nil {
		n.t.Fatal(err)
	}
	return func(value any) {
		n.t.Helper()
		ctx, cancel := context.WithTimeout(n.t.Context(), timeout)
		defer cancel()
		select {
		case <-ctx.Done():
			n.t.Fatalf("Node did not answer %q", do)
		case r := <-done:
			if r.Error != "" {
				n.t.Fatalf("Node's %s: %s", do, r.Error)
			}
			if value == nil {
				return
			}
			if err := json.Unmarshal(r.Value, value); err != nil {
				n.t.Fatalf("Node's %s answered %s: %v", do, r.Value, err)
			}
		}
	}
}

// do sends a request and waits for its reply.
func (n *node) do(do string, args map[string]any, value any) {
	n.t.Helper()
	n.begin(do, args)(value)
}

// next waits for an event of this kind and skips others.
func (n *node) next(kind string) event {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), timeout)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			n.t.Fatalf("Node did not tell of %q", kind)
		case e := <-n.events:
			if e.Event == kind {
				return e
			}
		}
	}
}
