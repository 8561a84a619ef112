package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// childVariable names the job of a child: what is measured of a process has a process of its own.
const childVariable = "CARTERO_BENCH_CHILD"

// order is what a child is told in its environment.
type order struct {
	File     string `json:"file,omitempty"`     // the list
	URL      string `json:"url,omitempty"`      // the same list
	CA       string `json:"ca,omitempty"`       // the certificate that signed the server's, in PEM
	Database string `json:"database,omitempty"` // its schema is there
	Redis    string `json:"redis,omitempty"`
	Queue    string `json:"queue,omitempty"`
}

// outcome is what a child found.
type outcome struct {
	// Seconds of each step, by its name.
	Seconds map[string]float64 `json:"seconds"`
	// Grown is how much memory the process took at most beyond what it had when it began, in MiB; 0 where the system
	// does not tell.
	Grown float64 `json:"grown"`
	// CPU is the processor time of the whole process in seconds, as far as the system tells.
	CPU float64 `json:"cpu"`
	// Rows is how many recipients came out.
	Rows int64 `json:"rows"`
}

// orderVariable holds the order, as JSON.
const orderVariable = "CARTERO_BENCH_ORDER"

// inChild runs a job in a process of its own.
func inChild(ctx context.Context, job string, o order, env ...string) (outcome, error) {
	var result outcome
	self, err := os.Executable()
	if err != nil {
		return result, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return result, err
	}
	command := exec.CommandContext(ctx, self)
	command.Env = append(os.Environ(), append(env, childVariable+"="+job, orderVariable+"="+string(text))...)
	command.Stderr = os.Stderr
	answer, err := command.Output()
	if err != nil {
		return result, fmt.Errorf("child %s: %w", job, err)
	}
	if err := json.Unmarshal(answer, &result); err != nil {
		return result, fmt.Errorf("child %s: %w", job, err)
	}
	return result, nil
}

// serveChild is the other side of inChild.
func serveChild(ctx context.Context, job string, out io.Writer) error {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(orderVariable)), &o); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	do, ok := map[string]func(context.Context, order) (outcome, error){
		"read": readList,
		"load": loadList,
	}[job]
	if !ok {
		return fmt.Errorf("unknown job %q", job)
	}
	result, err := do(ctx, o)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}

// memory is memoryOf this process.
func memory(name string) float64 { return memoryOf("self", name) }

// memoryOf returns a number of a process's status in /proc, in MiB: VmRSS is what the process has, VmHWM what it had at most.
func memoryOf(pid, name string) float64 {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024
		}
	}
	return 0
}

// processorTime returns the seconds that a process used so far, by itself and in the kernel; 0 where the system does not
// tell.
func processorTime(pid string) float64 {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the program's name
	fields := strings.Fields(rest)
	const ticks = 100 // a second: the unit of /proc, whatever the kernel's own is
	ticksOf := func(i int) float64 {
		n, _ := strconv.ParseFloat(fields[i], 64)
		return n / ticks
	}
	return ticksOf(11) + ticksOf(12)
}
