//go:build unix

package smtp

import (
	"io"
	"net"
	"syscall"
	"time"
)

// peek reports whether there is something to read, or how the connection ended, without waiting and without reading.
func peek(c net.Conn) (readable bool, err error) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return false, nil
	}
	if err := tcp.SetReadDeadline(time.Time{}); err != nil {
		return false, err
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false, err
	}
	var n int
	var recvErr error
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, recvErr = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	switch {
	case err != nil:
		return false, err
	case recvErr == syscall.EAGAIN || recvErr == syscall.EWOULDBLOCK || recvErr == syscall.EINTR:
		return false, nil
	case recvErr != nil:
		return false, recvErr
	case n == 0:
		return false, io.EOF
	}
	return true, nil
}
