package bull

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// node returns the server that has the queue: on a cluster the master of its slot, for what is asked of one server.
func (q *Queue) node(ctx context.Context) (redis.Cmdable, error) {
	cluster, ok := q.client.(*redis.ClusterClient)
	if !ok {
		return q.client, nil
	}
	node, err := cluster.MasterForKey(ctx, q.keys.wait())
	if err != nil {
		return nil, fmt.Errorf("finding the node of queue %s: %w", q.config.Queue, err)
	}
	return node, nil
}
