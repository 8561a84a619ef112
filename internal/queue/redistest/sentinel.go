package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// MasterName is the name by which Sentinels know the master.
const MasterName = "mymaster"

// Watched is a master with one replica and three Sentinels.
type Watched struct {
	Master, Replica *Server
	Sentinels       []*Server
}

// StartWatched starts them, and waits until the Sentinels know the replica and each other. They give the master up only
// once they were told to look closely.
func StartWatched(tb testing.TB) *Watched {
	tb.Helper()
	w := &Watched{Master: Start(tb, "--repl-diskless-sync-delay", "0")}
	w.Replica = Start(tb, "--replicaof", "127.0.0.1 "+strconv.Itoa(w.Master.port), "--repl-diskless-sync-delay", "0")
	follower := w.Replica.Client()
	defer func() { _ = follower.Close() }()
	Eventually(tb, "the replica has the master's data", func(ctx context.Context) error {
		return linkUp(follower.Info(ctx, "replication").Result())
	})
	for range 3 {
		w.Sentinels = append(w.Sentinels, startSentinel(tb, w.Master.port))
	}
	for _, s := range w.Sentinels {
		client := s.Client()
		Eventually(tb, "the Sentinels know each other", func(ctx context.Context) error {
			info, err := client.Info(ctx, "sentinel").Result()
			if err == nil && !strings.Contains(info, "slaves=1,sentinels=3") {
				err = errors.New(info)
			}
			return err
		})
		_ = client.Close()
	}
	return w
}

func startSentinel(tb testing.TB, master int) *Server {
	tb.Helper()
	s := prepare(tb)
	config := filepath.Join(s.dir, "sentinel.conf")
	text := fmt.Sprintf(`port %d
bind 127.0.0.1
dir %s
logfile %s
sentinel monitor %s 127.0.0.1 %d 2
sentinel down-after-milliseconds %s 60000
sentinel failover-timeout %s 10000
`, s.port, s.dir, filepath.Join(s.dir, "log"), MasterName, master, MasterName, MasterName)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.run([]string{config, "--sentinel"})
	return s
}

// URL is the redis-sentinel:// URL of the master.
func (w *Watched) URL() string {
	return "redis-sentinel://" + strings.Join(Addrs(w.Sentinels), ",") + "/" + MasterName
}

// KillMaster kills the master, has the Sentinels notice within a moment, and returns when they have made the replica the
// master. Then Master is that one, and Replica is nil.
func (w *Watched) KillMaster() {
	w.Master.Kill()
	for _, s := range w.Sentinels {
		s.do([]any{"SENTINEL", "SET", MasterName, "down-after-milliseconds", 200})
	}
	client := w.Replica.Client()
	defer func() { _ = client.Close() }()
	Eventually(w.Replica.tb, "the replica is the master", func(ctx context.Context) error {
		info, err := client.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "role:master") {
			err = errors.New(info)
		}
		return err
	})
	w.Master, w.Replica = w.Replica, nil
}
