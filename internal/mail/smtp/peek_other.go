//go:build !unix

package smtp

import "net"

// peeker knows nothing on systems without MSG_DONTWAIT: a connection that was closed while idle shows at MAIL FROM.
type peeker struct{}

func (*peeker) of(net.Conn) {}

func (*peeker) peek() (readable bool, err error) { return false, nil }
