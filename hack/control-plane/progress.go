package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	barWidth = 30
	lineStep = 10 // per cent between two lines where there is no terminal
)

// progress shows how many packages of a build are compiled: a bar that redraws itself on a terminal, a line every ten
// per cent elsewhere. It is safe for concurrent use.
type progress struct {
	out      io.Writer
	terminal bool
	now      func() time.Time
	title    string

	mu      sync.Mutex
	started time.Time
	seen    map[string]bool // packages counted: two binaries of one module share most of theirs
	total   int
	shown   int // the last percentage that got a line

	once   sync.Once
	closed chan struct{}
}

func newProgress(out io.Writer, title, usual string, total int) *progress {
	p := &progress{
		out: out, terminal: isTerminal(out), now: time.Now, title: title,
		seen: make(map[string]bool), total: total, closed: make(chan struct{}),
	}
	p.started = p.now()
	fmt.Fprintf(out, "Control plane: compiling %s, %d packages (%s on two cores, less where Go's cache has some) …\n", title, total, usual)
	if p.terminal {
		go p.tick()
	}
	return p
}

// tick redraws the bar each second, so that the clock runs on while one package, or the linker, takes its time.
func (p *progress) tick() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-p.closed:
			return
		case <-ticker.C:
			p.redraw()
		}
	}
}

// redraw draws the bar unless close, which may have come since the tick, has removed it.
func (p *progress) redraw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
	default:
		p.draw("")
	}
}

// step notes that the build has come to a package.
func (p *progress) step(pkg string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[pkg] = true
	if p.terminal {
		p.draw(pkg)
		return
	}
	if percent := p.percent(); percent >= p.shown+lineStep && percent < 100 {
		p.shown = percent - percent%lineStep
		fmt.Fprintf(p.out, "Control plane: %s: %d %% (%d of %d packages, %s)\n", p.title, p.shown, len(p.seen), p.total, p.elapsed())
	}
}

// close ends the display, and may be called again.
func (p *progress) close() {
	p.once.Do(func() {
		close(p.closed)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.terminal {
			fmt.Fprint(p.out, "\r\033[K")
		}
	})
}

// summary says what the build came to. Packages that Go's cache had were never named: the count may be any.
func (p *progress) summary() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%d of %d packages compiled, the others were cached, %s", len(p.seen), p.total, p.elapsed())
}

// draw writes the bar over itself. The caller holds the lock.
func (p *progress) draw(pkg string) {
	percent := p.percent()
	full := barWidth * percent / 100
	if len(pkg) > 40 {
		pkg = "…" + pkg[len(pkg)-39:]
	}
	fmt.Fprintf(p.out, "\r\033[K%s [%s%s] %3d %% %6s  %s", p.title,
		strings.Repeat("█", full), strings.Repeat("░", barWidth-full), percent, p.elapsed(), pkg)
}

func (p *progress) percent() int {
	return min(100, 100*len(p.seen)/max(1, p.total))
}

func (p *progress) elapsed() time.Duration {
	return p.now().Sub(p.started).Round(time.Second)
}

// isTerminal reports whether what is written to out is seen by somebody as it comes, on something that can redraw.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || os.Getenv("CI") != "" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
