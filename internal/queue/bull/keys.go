package bull

import (
	"encoding/base64"
	"strings"
)

// keys derives every key and channel of one queue. Keys of single jobs are derived inside the scripts, from base.
type keys struct {
	prefix, queue string
	base          string // "<prefix>:<queue>:"
}

func newKeys(prefix, queue string) keys {
	return keys{prefix: prefix, queue: queue, base: prefix + ":" + queue + ":"}
}

func (k keys) counter() string      { return k.base + "id" }
func (k keys) wait() string         { return k.base + "wait" }
func (k keys) paused() string       { return k.base + "paused" }
func (k keys) active() string       { return k.base + "active" }
func (k keys) delayed() string      { return k.base + "delayed" }
func (k keys) priority() string     { return k.base + "priority" }
func (k keys) completed() string    { return k.base + "completed" }
func (k keys) failed() string       { return k.base + "failed" }
func (k keys) stalled() string      { return k.base + "stalled" }
func (k keys) stalledCheck() string { return k.base + "stalled-check" }
func (k keys) metaPaused() string   { return k.base + "meta-paused" }
func (k keys) meta() string         { return k.base + "meta" }
func (k keys) repeat() string       { return k.base + "repeat" }
func (k keys) limiterIndex() string { return k.base + "limiter:index" }

func (k keys) metrics(state State) string     { return k.base + "metrics:" + string(state) }
func (k keys) metricsData(state State) string { return k.metrics(state) + ":data" }

// BullMQ's own keys, which a queue of Bull never has.
func (k keys) marker() string      { return k.base + "marker" }
func (k keys) events() string      { return k.base + "events" }
func (k keys) prioritized() string { return k.base + "prioritized" }
func (k keys) pc() string          { return k.base + "pc" }

func (k keys) progress() string { return k.base + "progress" } // a channel only

func (k keys) job(id string) string  { return k.base + id }
func (k keys) lock(id string) string { return k.base + id + ":lock" }
func (k keys) logs(id string) string { return k.base + id + ":logs" }

// delayedChannel announces the next due time; it has the same name as the sorted set.
func (k keys) delayedChannel() string { return k.delayed() }

// clientName is the connection name by which Bull's getWorkers() knows the workers of a queue.
func (k keys) clientName() string {
	return k.prefix + ":" + base64.StdEncoding.EncodeToString([]byte(k.queue))
}

// reserved are the ids that would collide with a key or channel of the queue itself.
var reserved = map[string]bool{
	"active": true, "wait": true, "waiting": true, "paused": true, "resumed": true, "meta": true, "meta-paused": true,
	"id": true, "delayed": true, "priority": true, "stalled": true, "stalled-check": true, "completed": true,
	"failed": true, "repeat": true, "limiter": true, "drained": true, "duplicated": true, "progress": true, "de": true,
	"debounced": true, "events": true, "marker": true, "pc": true, "prioritized": true, "metrics": true,
}

var (
	reservedPrefixes = []string{"repeat:", "limiter:", "metrics:", "de:"}
	reservedSuffixes = []string{":lock", ":logs"}
)

// isJobKey reports whether an id may be a job's at all. Bull's own jobs of repeatable ones are called repeat:….
func isJobKey(id string) bool {
	if instance, ok := strings.CutPrefix(id, "repeat:"); ok {
		id = instance
	}
	return id != "" && !isReserved(id)
}

// isReserved reports whether a job id would collide with another key of the queue.
func isReserved(id string) bool {
	if reserved[id] {
		return true
	}
	for _, prefix := range reservedPrefixes {
		if strings.HasPrefix(id, prefix) {
			return true
		}
	}
	for _, suffix := range reservedSuffixes {
		if strings.HasSuffix(id, suffix) {
			return true
		}
	}
	return false
}
