package smtp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// sockets are the two ends of a TCP connection, the near one as the pool has it.
func sockets(t *testing.T) (near net.Conn, far *net.TCPConn) {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	dialed, err := net.DialTCP("tcp", nil, listener.Addr().(*net.TCPAddr)) //nolint:forcetypeassert // it listens for TCP
	if err != nil {
		t.Fatal(err)
	}
	near = newSocket(dialed)
	t.Cleanup(func() { _ = near.Close() })
	if far, err = listener.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	return near, far
}

// TestSocketCarriesAll: more than the kernel takes at once arrives whole, both ways, and the end of the stream is one.
func TestSocketCarriesAll(t *testing.T) {
	t.Parallel()
	near, far := sockets(t)
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	sent := make(chan error, 1)
	go func() {
		n, err := near.Write(text)
		if err == nil && n != len(text) {
			err = io.ErrShortWrite
		}
		sent <- err
	}()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, text) {
		t.Errorf("what arrived is not what was sent: %v", err)
	}
	if err := <-sent; err != nil {
		t.Errorf("writing: %v", err)
	}
	go func() {
		_, err := far.Write(text)
		sent <- errors.Join(err, far.CloseWrite())
	}()
	if got, err := io.ReadAll(near); err != nil || !bytes.Equal(got, text) {
		t.Errorf("what came back is not what was sent: %v", err)
	}
	if err := <-sent; err != nil {
		t.Errorf("answering: %v", err)
	}
}

// TestSocketFails as net does: whoever judges an error finds what he looks for in it.
func TestSocketFails(t *testing.T) {
	t.Parallel()
	past := time.Unix(1, 0)
	full := func(near net.Conn) error {
		for { // until the kernel takes no more
			if _, err := near.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	}
	read := func(near net.Conn) error {
		_, err := near.Read(make([]byte, 1))
		return err
	}
	for _, tt := range []struct {
		name string
		call func(near net.Conn, far *net.TCPConn) error
		op   string
		want []error
	}{
		{"reading behind the deadline", func(near net.Conn, _ *net.TCPConn) error {
			return errors.Join(near.SetReadDeadline(past), read(near))
		}, "read", []error{os.ErrDeadlineExceeded}},
		{"a deadline that comes while it reads", func(near net.Conn, _ *net.TCPConn) error {
			return errors.Join(near.SetReadDeadline(time.Now().Add(shortly)), read(near))
		}, "read", []error{os.ErrDeadlineExceeded}},
		{"a deadline that comes while it writes", func(near net.Conn, _ *net.TCPConn) error {
			return errors.Join(near.SetWriteDeadline(time.Now().Add(shortly)), full(near))
		}, "write", []error{os.ErrDeadlineExceeded}},
		{"reading what was closed", func(near net.Conn, _ *net.TCPConn) error {
			return errors.Join(near.Close(), read(near))
		}, "read", []error{net.ErrClosed}},
		{"writing what was closed", func(near net.Conn, _ *net.TCPConn) error {
			return errors.Join(near.Close(), full(near))
		}, "write", []error{net.ErrClosed}},
		{"reading what the other side reset", func(near net.Conn, far *net.TCPConn) error {
			return errors.Join(far.SetLinger(0), far.Close(), read(near))
		}, "read", []error{syscall.ECONNRESET}},
		{"writing what the other side reset", func(near net.Conn, far *net.TCPConn) error {
			return errors.Join(far.SetLinger(0), far.Close(), full(near))
		}, "write", []error{syscall.ECONNRESET, syscall.EPIPE}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.call(sockets(t))
			operation, ok := errors.AsType[*net.OpError](err)
			if !ok || operation.Op != tt.op {
				t.Fatalf("got %v, want a failure to %s", err, tt.op)
			}
			found := false
			for _, want := range tt.want {
				found = found || errors.Is(err, want)
			}
			if !found || operation.Timeout() != errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want one of %v", err, tt.want)
			}
		})
	}
}

// TestDeadlineMoves where it would come too early, or much too late, and not otherwise.
func TestDeadlineMoves(t *testing.T) {
	t.Parallel()
	const timeout = 16 * time.Minute
	begin := time.Unix(1_700_000_000, 0)
	var d deadline
	for _, step := range []struct {
		after, timeout, at time.Duration
		set                bool
	}{
		{0, timeout, timeout + time.Minute, true},
		{0, timeout, timeout + time.Minute, false},
		{time.Minute, timeout, timeout + time.Minute, false},
		{time.Minute + 1, timeout, timeout + 2*time.Minute + 1, true},
		{2 * time.Minute, timeout / 2, timeout/2 + 2*time.Minute + 30*time.Second, true},
		{2 * time.Minute, timeout, timeout + 3*time.Minute, true},
	} {
		at, set := d.move(begin.Add(step.after), step.timeout)
		if !at.Equal(begin.Add(step.at)) || set != step.set {
			t.Errorf("%v after the begin, for %v: at %v, set %v; want %v, %v", step.after, step.timeout, at.Sub(begin), set, step.at, step.set)
		}
	}
}
