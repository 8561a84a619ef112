package bull

import (
	_ "embed"

	"github.com/cartero-mail/cartero/internal/queue/lua"
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
	addScript      = newScript("add", addSource)
	stateScript    = newScript("state", stateSource)
	takeScript     = newScript("take", takeSource)
	extendScript   = newScript("extend", extendSource)
	completeScript = newScript("complete", completeSource)
	failScript     = newScript("fail", failSource)
	giveBackScript = newScript("giveBack", giveBackSource)
	promoteScript  = newScript("promote", promoteSource)
	stalledScript  = newScript("stalled", stalledSource)
)

// newScript returns the script of this name with the shared functions before it.
func newScript(name, source string) lua.Script { return lua.New(name, lib+"\n"+source) }
