package interop

import (
	"context"
	"errors"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
)

// openFixtureAt opens a queue of its own on any server. Prefix and queue are those that change sets, if it does.
func openFixtureAt(t *testing.T, url string, change func(*bull.Config)) *fixture {
	t.Helper()
	client, err := conn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	config := bull.Config{Prefix: "interop:" + uuid.NewString(), Queue: queueName, DrainDelay: 50 * time.Millisecond}
	change(&config)
	f := &fixture{T: t, url: url, prefix: config.Prefix, name: config.Queue, redis: client}
	if f.queue, err = bull.New(client, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for name := range f.raw() {
			client.Del(context.Background(), f.key(name))
		}
		_ = client.Close()
	})
	return f
}

func redisURL(t *testing.T) string {
	t.Helper()
	url := os.Getenv("TEST_REDIS_URL")
	if url == "" {
		t.Fatal("TEST_REDIS_URL is not set: run `make test`, which starts one")
	}
	return url
}

// nodeAdds adds a plain job with Node's Bull; an empty id is none.
func (f *fixture) nodeAdds(id string, options object) string {
	f.Helper()
	all := object{}
	maps.Copy(all, options)
	if id != "" {
		all["jobId"] = id
	}
	var added struct{ ID string }
	f.node.Do("add", object{"data": object{"jobUuid": "x"}, "opts": all}, &added)
	return added.ID
}

func isForeign(err error) bool {
	_, foreign := errors.AsType[*bull.DialectError](err)
	return foreign
}
