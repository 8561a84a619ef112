package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Workbench is what a benchmark of mails stands on: a directory, both servers, and a sink in a process of its own.
type Workbench struct {
	Dir     string
	Servers *Servers
	Sink    *SinkProcess
}

// OpenWorkbench makes the directory below parent, where empty means the system's for temporary files, and connects to the
// servers of the flags; the program must have ServeSink among its children.
func OpenWorkbench(ctx context.Context, f *Flags, parent string) (b *Workbench, err error) {
	b = &Workbench{}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if b.Dir, err = os.MkdirTemp(parent, "cartero-bench-"); err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}
	if b.Servers, err = OpenServers(ctx, f.Database, f.Redis); err != nil {
		return nil, err
	}
	b.Sink, err = StartSink()
	return b, err
}

// Close ends and removes all of it.
func (b *Workbench) Close() error {
	errs := []error{os.RemoveAll(b.Dir)}
	if b.Sink != nil {
		errs = append(errs, b.Sink.Close())
	}
	if b.Servers != nil {
		errs = append(errs, b.Servers.Close())
	}
	return errors.Join(errs...)
}
