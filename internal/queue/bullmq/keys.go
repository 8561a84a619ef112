package bullmq

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

// foreign are keys that Bull makes and BullMQ never does.
func (k keys) foreign() []string {
	return []string{k.base + "meta-paused", k.base + "priority", k.base + "limiter:index", k.base + "limiter:limited"}
}

// shared are keys that both libraries have. BullMQ's scripts write none of them without a limit of events in meta.
func (k keys) shared() []string {
	names := []string{
		"id", "wait", "paused", "active", "delayed", "completed", "failed", "stalled", "stalled-check", "repeat", "limiter",
	}
	for i, name := range names {
		names[i] = k.base + name
	}
	return names
}

// reserved are the ids that would collide with a key of the queue itself, or with one that other versions have had.
var reserved = map[string]bool{
	"active": true, "wait": true, "waiting": true, "waiting-children": true, "paused": true, "id": true, "delayed": true,
	"delay": true, "prioritized": true, "priority": true, "pc": true, "marker": true, "stalled": true,
	"stalled-check": true, "completed": true, "failed": true, "repeat": true, "limiter": true, "meta": true,
	"meta-paused": true, "events": true, "metrics": true, "de": true, "dn": true,
}
