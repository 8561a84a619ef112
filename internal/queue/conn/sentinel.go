package conn

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

// unknownMasterError says that Sentinels answered, and none knows the master. It is a net.Error, since Sentinels that
// were just started may learn of it later.
type unknownMasterError struct{}

var _ net.Error = unknownMasterError{}

func (unknownMasterError) Error() string {
	return "the Sentinels of REDIS_URL know no master of that name: redis-sentinel://host:port/master name"
}
func (unknownMasterError) Timeout() bool   { return false }
func (unknownMasterError) Temporary() bool { return true }

// sentinelHook gives the failure of a dial a meaning: where Sentinels know no such master, go-redis passes on redis.Nil,
// which every command would take for "no such key", and a blocking pop for "no job".
type sentinelHook struct{}

// DialHook implements redis.Hook.
func (sentinelHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		connection, err := next(ctx, network, addr)
		if errors.Is(err, redis.Nil) {
			return nil, unknownMasterError{}
		}
		return connection, err
	}
}

// ProcessHook implements redis.Hook.
func (sentinelHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (sentinelHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
