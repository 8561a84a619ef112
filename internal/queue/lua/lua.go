// Package lua sends calls of one Lua script to Redis, many in one round trip.
package lua

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/failpoint"
)

// Script is one Lua script. It is safe for concurrent use.
type Script struct {
	*redis.Script

	// Name is what failpoints call it.
	Name string
	// Source is the script's text.
	Source string
}

// New returns the script with this name and text.
func New(name, source string) Script { return Script{redis.NewScript(source), name, source} }

// Run calls the script by its hash, and sends its text where the server does not know it.
func (s Script) Run(ctx context.Context, client redis.Scripter, keys []string, args ...any) *redis.Cmd {
	if err := failpoint.HitFor(failpoint.QueueBeforeScript, s.Name); err != nil {
		cmd := redis.NewCmd(ctx)
		cmd.SetErr(err)
		return cmd
	}
	cmd := s.Script.Run(ctx, client, keys, args...)
	if err := failpoint.HitFor(failpoint.QueueScriptDone, s.Name); err != nil {
		cmd.SetErr(err)
	}
	return cmd
}

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
	if err := failpoint.HitFor(failpoint.QueueBeforeScript, s.Name); err != nil {
		return nil, err
	}
	_, err := pipe.Exec(ctx)
	if lost := failpoint.HitFor(failpoint.QueueScriptDone, s.Name); lost != nil {
		return nil, lost
	}
	return cmds, err
}
