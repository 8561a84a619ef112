package conn

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// CheckSlot refuses, on a Redis Cluster, keys that begin with base unless a hash tag in base puts all of them into one
// slot: a script can only touch keys of one. Anywhere else every base will do.
func CheckSlot(client redis.UniversalClient, base string) error {
	if _, ok := client.(*redis.ClusterClient); !ok || hasTag(base) {
		return nil
	}
	return errors.New("on a Redis Cluster all keys of a queue must be in one slot, which takes a hash tag: set " +
		"BULL_PREFIX={bull} or QUEUE_NAME_EMAIL={email-queue}, braces included, and the same in the Node programs")
}

// hasTag reports whether base has a hash tag, as Redis reads it: what stands between the first '{' and the next '}', if
// it is not empty.
func hasTag(base string) bool {
	_, rest, _ := strings.Cut(base, "{")
	tag, _, closed := strings.Cut(rest, "}")
	return closed && tag != ""
}
