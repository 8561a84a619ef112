package failpoint

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// The files of FAILPOINTS_DIR.
const (
	hitsFile    = "hits"
	takenPrefix = "taken-"
	goPrefix    = "go-"
)

// pausePoll is the time between two looks for the file that ends a pause.
const pausePoll = 5 * time.Millisecond

// Injector counts the points that are reached, and does what a plan says. It is safe for concurrent use.
type Injector struct {
	steps []Step
	dir   string
	kill  func() // SIGKILL, but for tests

	mu     sync.Mutex
	hits   *os.File // nil without a directory
	counts map[place]int
}

type place struct {
	point  Point
	detail string
}

// NewInjector returns an Injector for the plan. Without a directory nothing is written, and a plan must not pause.
func NewInjector(steps []Step, dir string) (*Injector, error) {
	i := &Injector{steps: steps, dir: dir, counts: map[place]int{}, kill: killSelf}
	if dir == "" {
		for _, step := range steps {
			if step.Action == Pause {
				return nil, fmt.Errorf("failpoints: %s: a pause needs FAILPOINTS_DIR", step)
			}
		}
		return i, nil
	}
	var err error
	if i.hits, err = os.OpenFile(filepath.Join(dir, hitsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("failpoints: %w", err)
	}
	return i, nil
}

// LostError is what the action Error returns: to callers it is the loss of a connection, whatever it was to.
type LostError struct {
	Point  Point
	Detail string
}

func (e *LostError) Error() string {
	if e.Detail == "" {
		return "the connection was lost at the failpoint " + string(e.Point)
	}
	return "the connection was lost at the failpoint " + string(e.Point) + ", " + e.Detail
}

// Unwrap returns what the operating system and database/sql say of a lost connection.
func (e *LostError) Unwrap() []error { return []error{syscall.ECONNRESET, driver.ErrBadConn} }

// Timeout implements net.Error: the peer has hung up.
func (e *LostError) Timeout() bool { return false }

// Temporary implements net.Error.
func (e *LostError) Temporary() bool { return false }

// Hit notes that the point is reached, and takes the plan's step for this occurrence, if there is one.
func (i *Injector) Hit(p Point, detail string) error {
	occurrence := i.note(p, detail)
	for n, step := range i.steps {
		if step.Point == p && step.Detail == detail && occurrence >= step.Occurrence && occurrence < step.Occurrence+step.Times {
			return i.take(n, step)
		}
	}
	return nil
}

// note counts the hit, and writes it before anything comes of it.
func (i *Injector) note(p Point, detail string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := place{p, detail}
	i.counts[at]++
	if i.hits != nil {
		if _, err := i.hits.WriteString(string(p) + "\t" + detail + "\n"); err != nil {
			panic(fmt.Errorf("failpoints: %w", err))
		}
	}
	return i.counts[at]
}

func (i *Injector) take(n int, step Step) error {
	if i.dir != "" {
		if err := os.WriteFile(filepath.Join(i.dir, takenPrefix+strconv.Itoa(n)), nil, 0o600); err != nil {
			panic(fmt.Errorf("failpoints: %w", err))
		}
	}
	switch step.Action {
	case Kill:
		i.kill()
	case Panic:
		panic("failpoint " + step.String())
	case Pause:
		i.pause(n)
	case Error:
		return &LostError{step.Point, step.Detail}
	}
	return nil
}

// pause waits for another process, which makes a file.
func (i *Injector) pause(n int) {
	ticker := time.NewTicker(pausePoll)
	defer ticker.Stop()
	for range ticker.C {
		if _, err := os.Stat(filepath.Join(i.dir, goPrefix+strconv.Itoa(n))); !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
}

// killSelf does not return: SIGKILL may take a moment to arrive.
func killSelf() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
