// Package lua sends calls of one Lua script to Redis, many in one round trip.
package lua

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Script is one Lua script. It is safe for concurrent use.
type Script struct {
	source string
	script *redis.Script
}

// New returns the script with this text.
func New(source string) Script { return Script{source, redis.NewScript(source)} }

// Pipeline sends one call per element of calls, in order and in one round trip, all with the same keys. The first call
// carries the script's text, which makes the server know it before it sees the others. Every call has its own outcome in
// the result; the error is the first one's.
func (s Script) Pipeline(ctx context.Context, client redis.UniversalClient, keys []string, calls [][]any) ([]*redis.Cmd, error) {
	pipe := client.Pipeline()
	cmds := make([]*redis.Cmd, len(calls))
	for i, args := range calls {
		if i == 0 {
			cmds[i] = pipe.Eval(ctx, s.source, keys, args...)
		} else {
			cmds[i] = pipe.EvalSha(ctx, s.script.Hash(), keys, args...)
		}
	}
	_, err := pipe.Exec(ctx)
	return cmds, err
}
