package bullmq

import (
	"cmp"
	"fmt"
	"time"
)

// Config says which queue, and who works on it.
type Config struct {
	// Prefix comes before every key; "bull" if empty, which is BullMQ's own default. On a Redis Cluster the prefix or the
	// queue carries a hash tag: {bull}.
	Prefix string
	// Queue is the queue's name; "email-queue" if empty.
	Queue string
	// Major is the major version of BullMQ that the workers have, 5 or 6. 0: each add reads it from the queue's meta hash,
	// where Queue objects of BullMQ write it, and takes 5 where nobody has. It matters while the queue is paused only.
	Major int
	// MaxEvents is about how many entries the stream of events keeps, on a queue where nobody has said so yet; 10,000 if
	// zero, as in BullMQ.
	MaxEvents int
	// Now is the clock that timestamps and due times come from; time.Now if nil.
	Now func() time.Time
}

// withDefaults fills in what is not set. Prefix and Queue are judged where Bull's are: the rules are the same.
func (c Config) withDefaults() Config {
	c.Prefix = cmp.Or(c.Prefix, "bull")
	c.Queue = cmp.Or(c.Queue, "email-queue")
	c.MaxEvents = cmp.Or(c.MaxEvents, 10_000)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (c Config) validate() error {
	if c.Major != 0 && c.Major != 5 && c.Major != 6 {
		return fmt.Errorf("the major version of BullMQ must be 5, 6, or 0 for what the queue says, not %d", c.Major)
	}
	if c.MaxEvents < 1 {
		return fmt.Errorf("a stream of events keeps at least 1, not %d", c.MaxEvents)
	}
	return nil
}
