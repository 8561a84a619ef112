package devstack

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/alicebob/miniredis/v2"
)

// StartRedis starts an in-process Redis on addr ("127.0.0.1:0" picks a free port) and returns its URL. It ends when stop
// is called or ctx ends, whichever comes first; stop may be called more than once. Nothing is kept: the database is the
// truth, and the outbox fills an empty queue again.
func StartRedis(ctx context.Context, addr string) (url string, stop func(), err error) {
	return startRedis(ctx, addr, "")
}

// StartPrivateRedis is StartRedis for this process alone: the URL has a password that nobody else knows.
func StartPrivateRedis(ctx context.Context) (url string, stop func(), err error) {
	return startRedis(ctx, "127.0.0.1:0", rand.Text())
}

func startRedis(ctx context.Context, addr, password string) (url string, stop func(), err error) {
	server := miniredis.NewMiniRedis()
	credentials := ""
	if password != "" {
		server.RequireAuth(password)
		credentials = ":" + password + "@"
	}
	// Locks, the stalled check and the send pace depend on keys that expire by themselves.
	server.ClockTTL(true)
	if err := server.StartAddr(addr); err != nil {
		return "", nil, fmt.Errorf("starting the embedded Redis on %s: %w", addr, err)
	}
	unhook := context.AfterFunc(ctx, server.Close)
	return "redis://" + credentials + server.Addr(), func() { unhook(); server.Close() }, nil
}
