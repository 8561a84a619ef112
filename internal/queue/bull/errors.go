package bull

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// unavailable are the beginnings of replies by which a server says that it can't serve at present: it is loading, out of
// memory, a replica, being failed over or giving its keys to another, or does not accept who is asking.
var unavailable = []string{
	"LOADING", "READONLY", "MASTERDOWN", "OOM", "MISCONF", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS",
	"UNBLOCKED", "MOVED", "ASK ",
	"NOAUTH", "WRONGPASS", "NOPERM", "ERR max number of clients",
}

// IsUnavailable reports whether Redis could not be reached, or could not serve: what failed may work later, unchanged.
func IsUnavailable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if reply, ok := errors.AsType[redis.Error](err); ok {
		text := reply.Error()
		for _, prefix := range unavailable {
			if strings.HasPrefix(text, prefix) {
				return true
			}
		}
		return strings.Contains(text, "connection pool") || strings.Contains(text, "client is closed")
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded)
}
