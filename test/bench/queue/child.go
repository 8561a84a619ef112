package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// request is one line that a child reads. Which fields count depends on Do; test/interop/bench/queue.js answers the same.
type request struct {
	Do    string `json:"do"`
	Queue string `json:"queue,omitempty"`
	// Way is how jobs are added (one, promises, bulk), Size how many at a time, Millis for how long.
	Way    string `json:"way,omitempty"`
	Size   int    `json:"size,omitempty"`
	Millis int64  `json:"millis,omitempty"`
	// Count is the number of jobs, Concurrency how many run at a time, Gap the milliseconds between two adds.
	Count       int   `json:"count,omitempty"`
	Concurrency int   `json:"concurrency,omitempty"`
	Gap         int64 `json:"gap,omitempty"`
}

// reply is one line that a child writes.
type reply struct {
	Jobs    int     `json:"jobs"`
	Seconds float64 `json:"seconds"`
	// CPU is the processor time of the child, in seconds.
	CPU float64 `json:"cpu"`
	// Times are moments by job id, in ns of the machine's monotonic clock, which is the same in all processes.
	Times   map[string]int64 `json:"times,omitempty"`
	Version string           `json:"version,omitempty"`
	Error   string           `json:"error,omitempty"`
}

// What a child is told through its environment.
const (
	envChild   = "BENCH_CHILD"
	envRedis   = "BENCH_REDIS_URL"
	envPrefix  = "BENCH_PREFIX"
	envProfile = "BENCH_CPUPROFILE"
)

// child is a process that answers requests, one after another, until its input is closed.
type child struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// startChild starts a program with more variables, as NAME=value.
func startChild(name string, cmd *exec.Cmd, env ...string) (*child, error) {
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	return &child{name: name, cmd: cmd, in: in, lines: lines}, nil
}

// do sends a request and waits for its reply.
func (c *child) do(r request) (reply, error) {
	if err := c.begin(r); err != nil {
		return reply{}, err
	}
	if !c.lines.Scan() {
		return reply{}, fmt.Errorf("%s ended during %s: %w", c.name, r.Do, errors.Join(c.lines.Err(), c.cmd.Wait()))
	}
	var answer reply
	if err := json.Unmarshal(c.lines.Bytes(), &answer); err != nil {
		return reply{}, fmt.Errorf("reading what %s answered to %s: %w", c.name, r.Do, err)
	}
	if answer.Error != "" {
		return reply{}, fmt.Errorf("%s could not %s: %s", c.name, r.Do, answer.Error)
	}
	return answer, nil
}

func (c *child) begin(r request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("asking %s to %s: %w", c.name, r.Do, err)
	}
	return nil
}

// close ends the process and waits for it.
func (c *child) close() error {
	if err := c.in.Close(); err != nil {
		return err
	}
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// kill ends the process whatever it does.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}
