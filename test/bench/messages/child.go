package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// What is measured of a process has a process of its own.
const (
	readChild = "read"
	loadChild = "load"
)

// order is what a child is asked.
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

// inChild has a process of its own do one thing.
func inChild(ctx context.Context, name string, o order, env ...string) (result outcome, err error) {
	child, err := measure.StartSelf(name, env...)
	if err != nil {
		return result, err
	}
	stop := context.AfterFunc(ctx, child.Interrupt)
	defer stop()
	err = child.Ask(o, &result)
	return result, errors.Join(err, child.Close())
}

// serveChild is the other side of inChild.
func serveChild(do func(context.Context, order) (outcome, error)) func(context.Context, io.Reader, io.Writer) error {
	return func(ctx context.Context, in io.Reader, out io.Writer) error {
		return measure.Answer(in, out, func(o order) (any, error) { return do(ctx, o) })
	}
}

// peak is the most memory that this process had, in MiB.
func peak() float64 {
	_, most := measure.Memory(os.Getpid())
	return most
}
