//go:build linux && (amd64 || arm64)

package smtp

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// socket is a TCP connection whose system calls the Go scheduler is not told of. None of them waits (MSG_DONTWAIT): where
// there is nothing to do yet, the runtime's poller waits as always, under the deadlines as always. Told of them, the
// scheduler takes the processor away from a call that lasts longer than some 20 µs, as calls do on a machine with more to do
// than processors, and wakes another thread for it; that costs more than the call.
type socket struct {
	*net.TCPConn
	raw syscall.RawConn
	in  socketCall // of one Read at a time, as out of one Write
	out socketCall
}

// socketCall is what one direction of a connection is about to do, kept so that it allocates nothing.
type socketCall struct {
	p    []byte
	n    int
	err  syscall.Errno
	call func(fd uintptr) (done bool)
}

// newSocket is c itself where it is not of TCP.
func newSocket(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c // it is closed, which the first write shows
	}
	s := &socket{TCPConn: tcp, raw: raw}
	s.in.call, s.out.call = s.in.receive, s.out.send
	return s
}

// Read implements io.Reader.
func (s *socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.in = socketCall{p: p, call: s.in.call}
	err := s.raw.Read(s.in.call)
	n, errno := s.in.n, s.in.err
	s.in.p = nil
	if err = s.failure("read", err, errno); err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// Write implements io.Writer.
func (s *socket) Write(p []byte) (int, error) {
	s.out = socketCall{p: p, call: s.out.call}
	err := s.raw.Write(s.out.call)
	n, errno := s.out.n, s.out.err
	s.out.p = nil
	return n, s.failure("write", err, errno)
}

// failure is the error that net would return: of the system call, or of what came before it.
func (s *socket) failure(op string, err error, errno syscall.Errno) error {
	if errno != 0 {
		return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
	}
	if operation, ok := errors.AsType[*net.OpError](err); ok {
		operation.Op = op
	}
	return err
}

// receive reads once.
func (c *socketCall) receive(fd uintptr) (done bool) {
	c.n, c.err = transfer(syscall.SYS_RECVFROM, fd, c.p, syscall.MSG_DONTWAIT)
	return c.ended()
}

// send writes until all is written.
func (c *socketCall) send(fd uintptr) (done bool) {
	for c.n < len(c.p) {
		n, err := transfer(syscall.SYS_SENDTO, fd, c.p[c.n:], syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
		c.n, c.err = c.n+n, err
		if err != 0 {
			return c.ended()
		}
	}
	return true
}

// ended reports whether the call is over, as opposed to having to wait.
func (c *socketCall) ended() bool {
	if c.err == syscall.EAGAIN {
		c.err = 0
		return false
	}
	return true
}

// peekAt looks at what is there to read, without waiting.
func peekAt(fd uintptr, p []byte) (int, syscall.Errno) {
	return transfer(syscall.SYS_RECVFROM, fd, p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
}

// transfer is recvfrom(2) or sendto(2), without an address.
func transfer(call, fd uintptr, p []byte, flags uintptr) (int, syscall.Errno) {
	for {
		//nolint:gosec // a pointer for the kernel, which is done with it when the call returns
		n, _, err := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		switch err {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}
