//go:build unix

package smtp

import (
	"io"
	"net"
	"syscall"
)

// peeker looks whether there is something to read on a connection, without waiting and without reading. Without one of
// TCP it sees nothing.
type peeker struct {
	raw syscall.RawConn
	// ask is kept, with what it finds, so that looking allocates nothing.
	ask func(fd uintptr)
	n   int
	err syscall.Errno
}

func (p *peeker) of(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return // it is closed, which the first write shows
	}
	var b [1]byte
	p.raw = raw
	p.ask = func(fd uintptr) {
		p.n, p.err = peekAt(fd, b[:])
	}
}

// peek reports whether there is something to read, or how the connection ended.
func (p *peeker) peek() (readable bool, err error) {
	if p.raw == nil {
		return false, nil
	}
	if err := p.raw.Control(p.ask); err != nil {
		return false, err
	}
	switch {
	case p.err.Temporary(): // nothing is there, or a signal came in between
		return false, nil
	case p.err != 0:
		return false, p.err
	case p.n == 0:
		return false, io.EOF
	}
	return true, nil
}
