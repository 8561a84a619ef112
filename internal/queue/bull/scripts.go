package bull

import (
	"context"
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// lib holds the functions that the scripts share; it comes before each of them.
//
//go:embed scripts/lib.lua
var lib string

var (
	//go:embed scripts/add.lua
	addSource string
	//go:embed scripts/state.lua
	stateSource string
	//go:embed scripts/take.lua
	takeSource string
	//go:embed scripts/extend.lua
	extendSource string
	//go:embed scripts/complete.lua
	completeSource string
	//go:embed scripts/fail.lua
	failSource string
	//go:embed scripts/giveback.lua
	giveBackSource string
	//go:embed scripts/promote.lua
	promoteSource string
	//go:embed scripts/stalled.lua
	stalledSource string
)

var (
	addScript      = newScript(addSource)
	stateScript    = newScript(stateSource)
	takeScript     = newScript(takeSource)
	extendScript   = newScript(extendSource)
	completeScript = newScript(completeSource)
	failScript     = newScript(failSource)
	giveBackScript = newScript(giveBackSource)
	promoteScript  = newScript(promoteSource)
	stalledScript  = newScript(stalledSource)
)

// script is one Lua script with the shared functions before it.
type script struct {
	*redis.Script
	source string
}

func newScript(source string) script {
	source = lib + "\n" + source
	return script{redis.NewScript(source), source}
}

// pipeline queues one call per element of calls, in order, and sends them in one round trip. The first of several carries
// the script's text, so that the server knows it before it sees the others: were one of them to be sent again, the order
// would change.
func (s script) pipeline(ctx context.Context, client redis.UniversalClient, keys []string, calls [][]any) ([]*redis.Cmd, error) {
	if len(calls) == 1 {
		cmd := s.Run(ctx, client, keys, calls[0]...)
		return []*redis.Cmd{cmd}, cmd.Err()
	}
	pipe := client.Pipeline()
	cmds := make([]*redis.Cmd, len(calls))
	for i, args := range calls {
		if i == 0 {
			cmds[i] = pipe.Eval(ctx, s.source, keys, args...)
		} else {
			cmds[i] = pipe.EvalSha(ctx, s.Hash(), keys, args...)
		}
	}
	_, err := pipe.Exec(ctx)
	return cmds, err
}
