package measure

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Child is a process that answers each line of JSON with a line of JSON, until its input is closed.
type Child struct {
	Name string

	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// maxLine bounds one answer.
const maxLine = 16 << 20

// StartChild starts a program, with more variables, as NAME=value. Without an environment it has this program's.
func StartChild(name string, cmd *exec.Cmd, env ...string) (*Child, error) {
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, env...)
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	return &Child{Name: name, cmd: cmd, in: in, lines: lines}, nil
}

// StartSelf starts this program as one of its children.
func StartSelf(child string, env ...string) (*Child, error) {
	cmd, err := Self(child, env...)
	if err != nil {
		return nil, err
	}
	return StartChild("the "+child, cmd)
}

// PID is that of the process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Ask writes a request, and reads the answer into reply, unless that is nil.
func (c *Child) Ask(request, reply any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("asking %s: %w", c.Name, err)
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("asking %s: %w", c.Name, err)
	}
	return c.Await(reply)
}

// Await reads what the child says next.
func (c *Child) Await(reply any) error {
	if !c.lines.Scan() {
		return fmt.Errorf("%s ended: %w", c.Name, errors.Join(c.lines.Err(), c.cmd.Wait()))
	}
	var failure struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(c.lines.Bytes(), &failure) == nil && failure.Error != "" { // an answer may be no object
		return fmt.Errorf("%s: %s", c.Name, failure.Error)
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(c.lines.Bytes(), reply); err != nil {
		return fmt.Errorf("reading what %s answered: %w", c.Name, err)
	}
	return nil
}

// Close ends the process and waits for it.
func (c *Child) Close() error {
	if c == nil {
		return nil
	}
	if err := errors.Join(c.in.Close(), c.cmd.Wait()); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	return nil
}

// Kill ends the process whatever it does.
func (c *Child) Kill() {
	if c != nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
}

// Interrupt kills the process, whatever it does; Close must still be called.
func (c *Child) Interrupt() { _ = c.cmd.Process.Kill() }

// Answer is the other side of Ask: it answers each request on in until that ends.
func Answer[Request any](in io.Reader, out io.Writer, do func(Request) (any, error)) error {
	encoder := json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var request Request
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		answer, err := do(request)
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		if err := encoder.Encode(answer); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
	return lines.Err()
}
