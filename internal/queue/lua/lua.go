// Package lua sends calls of one Lua script to Redis, many in one round trip.
package lua

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Script is one Lua script. It is safe for concurrent use.
type Script struct {
	*redis.Script

	// Source is the script's text.
	Source string
}

// New returns the script with this text.
func New(source string) Script { return Script{redis.NewScript(source), source} }

// Pipeline sends one call per element of calls, in order and in one round trip, all with the same keys. The first of
// several carries the script's text, so that the server knows it before it sees the others: were one of them to be sent
// again, the order would change. Every call has its own outcome in the result; the error is the first one's.
func (s Script) Pipeline(ctx context.Context, client redis.UniversalClient, keys []string, calls [][]any) ([]*redis.Cmd, error) {
	if len(calls) == 1 {
		cmd := s.Run(ctx, client, keys, calls[0]...)
		return []*redis.Cmd{cmd}, cmd.Err()
	}
	pipe := client.Pipeline()
	cmds := make([]*redis.Cmd, len(calls))
	for i, args := range calls {
		if i == 0 {
			cmds[i] = pipe.Eval(ctx, s.Source, keys, args...)
		} else {
			cmds[i] = pipe.EvalSha(ctx, s.Hash(), keys, args...)
		}
	}
	_, err := pipe.Exec(ctx)
	return cmds, err
}
