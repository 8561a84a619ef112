//go:build unix && (!linux || !(amd64 || arm64))

package smtp

import "syscall"

// peekAt looks at what is there to read, without waiting.
func peekAt(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, err := syscall.Recvfrom(int(fd), p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	errno, _ := err.(syscall.Errno) //nolint:errorlint // it is the system call's own
	return n, errno
}
