package interop

import (
	"context"
	"errors"
	"maps"
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
		pipe := client.Pipeline()
		for name := range f.raw() {
			pipe.Del(context.Background(), f.key(name))
		}
		_, _ = pipe.Exec(context.Background())
		_ = client.Close()
	})
	return f
}

// onEach runs a test against each release of Bull, side by side, with a queue and a process of its own.
func onEach(t *testing.T, s setup, test func(f *fixture, r release)) {
	t.Helper()
	eachRelease(t, func(t *testing.T, r release) {
		t.Helper()
		test(newDesk(t, r, s), r)
	})
}

// ask has f.node do something on this queue. Other than f.node.Do it works with a process that was started for another
// queue, too.
func (f *fixture) ask(do string, args object, value any) {
	f.Helper()
	request := object{"url": f.url, "prefix": f.prefix, "name": f.queueName()}
	maps.Copy(request, args)
	f.node.Do(do, request, value)
}

// openBeside opens another queue, on which the same Node process works.
func (f *fixture) openBeside(change func(*bull.Config)) *fixture {
	f.Helper()
	other := openFixtureAt(f.T, f.url, change)
	other.node = f.node
	return other
}

func asItIs(*bull.Config) {}

// nodeAdds adds a plain job with Node's Bull; an empty id is none.
func (f *fixture) nodeAdds(id string, options object) string {
	f.Helper()
	all := object{}
	maps.Copy(all, options)
	if id != "" {
		all["jobId"] = id
	}
	var added struct{ ID string }
	f.ask("add", object{"data": object{"jobUuid": "x"}, "opts": all}, &added)
	return added.ID
}

func isForeign(err error) bool {
	_, foreign := errors.AsType[*bull.DialectError](err)
	return foreign
}
