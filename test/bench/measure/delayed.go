package measure

import (
	"io"
	"net"
	"time"
)

// line is a way over which a round trip takes longer: what a client writes is read that much later, in the order and the
// pieces in which it came, and however much is under way. The client can't tell on which half of its way it was held up.
//
// What comes first is due first, so one goroutine waits for all. It ends its wait by a sleep of its thread: a timer of Go's
// is late by up to a millisecond in a process that has nothing else to do.
type line struct {
	delay  time.Duration
	pieces chan piece
}

// piece is some octets, when they are to be read, and by whom.
type piece struct {
	text []byte
	err  error
	due  time.Time
	to   chan<- piece
}

// How many pieces may be under way on a line, and may have arrived on a connection: far more than clients have.
const (
	underWay = 1 << 14
	unread   = 256
)

func newLine(delay time.Duration) *line {
	l := &line{delay: delay, pieces: make(chan piece, underWay)}
	go func() {
		for p := range l.pieces {
			sleepUntil(p.due)
			p.to <- p
		}
	}()
	return l
}

// delayed is a connection over a line.
type delayed struct {
	net.Conn

	arrived chan piece
	rest    []byte
	err     error
}

func (l *line) wrap(c net.Conn) net.Conn {
	d := &delayed{Conn: c, arrived: make(chan piece, unread)}
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := c.Read(buffer)
			l.pieces <- piece{append([]byte(nil), buffer[:n]...), err, time.Now().Add(l.delay), d.arrived}
			if err != nil {
				return
			}
		}
	}()
	return d
}

// Read implements net.Conn.
func (d *delayed) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		next := <-d.arrived
		d.rest, d.err = next.text, next.err
		if d.err == nil && len(d.rest) == 0 {
			d.err = io.ErrNoProgress
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}
