//go:build !unix

package smtp

import "net"

// peek knows nothing on systems without MSG_DONTWAIT: a connection that was closed while idle shows at MAIL FROM.
func peek(net.Conn) (readable bool, err error) { return false, nil }
