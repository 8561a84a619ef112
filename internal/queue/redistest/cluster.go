package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

const slots = 16384

// Cluster is a Redis Cluster.
type Cluster struct {
	// Masters have the slots, in equal parts and in this order. Replicas, if there are any, follow the master with the
	// same index.
	Masters, Replicas []*Server
}

// StartCluster starts a cluster of three masters, each with a replica if that is asked for. Its nodes do not give each
// other up, however slow the machine: who wants a replica to take over, says so to it.
func StartCluster(tb testing.TB, replicas bool) *Cluster {
	tb.Helper()
	c := &Cluster{}
	for range 3 {
		c.Masters = append(c.Masters, startNode(tb))
		if replicas {
			c.Replicas = append(c.Replicas, startNode(tb))
		}
	}
	all := append(append([]*Server(nil), c.Masters...), c.Replicas...)
	for i, s := range all {
		s.do([]any{"CLUSTER", "SET-CONFIG-EPOCH", i + 1})
	}
	for i, s := range c.Masters {
		command := []any{"CLUSTER", "ADDSLOTS"}
		for slot := i * slots / 3; slot < (i+1)*slots/3; slot++ {
			command = append(command, slot)
		}
		s.do(command)
	}
	for _, s := range all[1:] {
		s.do([]any{"CLUSTER", "MEET", "127.0.0.1", all[0].port})
	}
	c.await(tb, all)
	for i, replica := range c.Replicas {
		c.follow(tb, replica, c.Masters[i])
	}
	return c
}

func startNode(tb testing.TB) *Server {
	tb.Helper()
	return Start(tb, "--cluster-enabled", "yes", "--cluster-node-timeout", "60000", "--repl-diskless-sync-delay", "0")
}

// await waits until every node knows the others and that all slots are served.
func (c *Cluster) await(tb testing.TB, all []*Server) {
	tb.Helper()
	for _, s := range all {
		client := s.Client()
		Eventually(tb, "the nodes know each other", func(ctx context.Context) error {
			info, err := client.ClusterInfo(ctx).Result()
			if err == nil && (!strings.Contains(info, "cluster_state:ok") ||
				!strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", len(all)))) {
				err = errors.New(info)
			}
			return err
		})
		_ = client.Close()
	}
}

// follow makes a node the replica of another, and waits until it has its data.
func (c *Cluster) follow(tb testing.TB, replica, master *Server) {
	tb.Helper()
	leader, follower := master.Client(), replica.Client()
	defer func() { _ = leader.Close(); _ = follower.Close() }()
	id, err := leader.ClusterMyID(tb.Context()).Result()
	if err != nil {
		tb.Fatal(err)
	}
	replica.do([]any{"CLUSTER", "REPLICATE", id})
	Eventually(tb, "the replica has its master's data", func(ctx context.Context) error {
		return linkUp(follower.Info(ctx, "replication").Result())
	})
}

func linkUp(info string, err error) error {
	if err == nil && !strings.Contains(info, "master_link_status:up") {
		return errors.New(info)
	}
	return err
}

// URL is the cluster's redis-cluster:// URL.
func (c *Cluster) URL() string { return "redis-cluster://" + strings.Join(Addrs(c.Masters), ",") }

// Addrs are the addresses of servers.
func Addrs(servers []*Server) []string {
	addrs := make([]string, len(servers))
	for i, s := range servers {
		addrs[i] = s.Addr()
	}
	return addrs
}

// TakeOver makes the replica with this index the master of its slots, without asking the others: for when its master was
// killed.
func (c *Cluster) TakeOver(index int) {
	c.Replicas[index].do([]any{"CLUSTER", "FAILOVER", "TAKEOVER"})
}
