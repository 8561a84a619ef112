package bullmq

import (
	"maps"
	"slices"
)

// keys derives every key of one queue. Keys of single jobs are derived inside the scripts, from base.
type keys struct {
	base string // "<prefix>:<queue>:"
}

func newKeys(prefix, queue string) keys { return keys{base: prefix + ":" + queue + ":"} }

func (k keys) counter() string         { return k.base + "id" }
func (k keys) wait() string            { return k.base + "wait" }
func (k keys) paused() string          { return k.base + "paused" }
func (k keys) active() string          { return k.base + "active" }
func (k keys) delayed() string         { return k.base + "delayed" }
func (k keys) completed() string       { return k.base + "completed" }
func (k keys) failed() string          { return k.base + "failed" }
func (k keys) meta() string            { return k.base + "meta" }
func (k keys) events() string          { return k.base + "events" }
func (k keys) marker() string          { return k.base + "marker" }
func (k keys) prioritized() string     { return k.base + "prioritized" }
func (k keys) priorityCounter() string { return k.base + "pc" }
func (k keys) waitingChildren() string { return k.base + "waiting-children" }

// trace is a key that tells whose a queue is, if it has this type.
type trace struct{ key, kind string }

func (k keys) traces(kinds map[string]string) []trace {
	var all []trace
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		all = append(all, trace{k.base + name, kinds[name]})
	}
	return all
}

// own are keys that BullMQ makes and Bull never does.
func (k keys) own() []trace {
	return k.traces(map[string]string{"events": "stream", "marker": "zset", "prioritized": "zset", "pc": "string"})
}

// foreign are keys that Bull makes and BullMQ never does.
func (k keys) foreign() []trace {
	return k.traces(map[string]string{
		"meta-paused": "string", "priority": "zset", "limiter:index": "hash", "limiter:limited": "set",
	})
}

// shared are keys that both libraries have. BullMQ's scripts write none of them without a limit of events in meta.
func (k keys) shared() []trace {
	return k.traces(map[string]string{
		"id": "string", "wait": "list", "paused": "list", "active": "list", "delayed": "zset", "completed": "zset",
		"failed": "zset", "stalled": "set", "stalled-check": "string", "repeat": "zset", "limiter": "string",
	})
}

// reserved are the ids that would collide with a key of the queue itself, or with one that other versions have had.
var reserved = map[string]bool{
	"active": true, "wait": true, "waiting": true, "waiting-children": true, "paused": true, "id": true, "delayed": true,
	"delay": true, "prioritized": true, "priority": true, "pc": true, "marker": true, "stalled": true,
	"stalled-check": true, "completed": true, "failed": true, "repeat": true, "limiter": true, "meta": true,
	"meta-paused": true, "events": true, "metrics": true, "de": true, "dn": true,
}
