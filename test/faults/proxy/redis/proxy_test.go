package redis_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/test/faults/proxy"
	"github.com/cartero-mail/cartero/test/faults/proxy/redis"
)

// behind is a client, the proxy that it goes through, and the server.
func behind(t *testing.T, protocol int) (*goredis.Client, *redis.Proxy, *miniredis.Miniredis) {
	t.Helper()
	server := miniredis.RunT(t)
	p, address := redis.Before(t, "redis://"+server.Addr())
	client := goredis.NewClient(&goredis.Options{
		Addr: strings.TrimPrefix(address, "redis://"), Protocol: protocol, MaxRetries: -1, DisableIdentity: true,
	})
	t.Cleanup(func() { _ = client.Close() })
	return client, p, server
}

func TestPassesThrough(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{2, 3} {
		client, _, server := behind(t, protocol)
		ctx := t.Context()
		long := strings.Repeat("x\r\n", 30_000)
		pipe := client.Pipeline()
		pipe.Set(ctx, "a", long, 0)
		pipe.HSet(ctx, "h", "f", "v", "g", "")
		all := pipe.HGetAll(ctx, "h")
		missing := pipe.Get(ctx, "missing")
		list := pipe.Eval(ctx, "return {1, {'two', false}, {}}", nil)
		if _, err := pipe.Exec(ctx); err != goredis.Nil { //nolint:errorlint // the bare value
			t.Fatal(err)
		}
		if got, err := server.Get("a"); err != nil || got != long {
			t.Errorf("a long value arrived with %d bytes: %v", len(got), err)
		}
		if diff := cmp.Diff(map[string]string{"f": "v", "g": ""}, all.Val()); diff != "" || missing.Err() != goredis.Nil { //nolint:errorlint // the bare value
			t.Errorf("HGETALL (-want +got):\n%s, GET: %v", diff, missing.Err())
		}
		if diff := cmp.Diff([]any{int64(1), []any{"two", nil}, []any{}}, list.Val()); diff != "" {
			t.Errorf("EVAL (-want +got):\n%s", diff)
		}
		channel := client.Subscribe(ctx, "news")
		if _, err := channel.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		server.Publish("news", "hello")
		if message, err := channel.ReceiveMessage(ctx); err != nil || message.Payload != "hello" {
			t.Errorf("the subscriber heard %v: %v", message, err)
		}
		_ = channel.Close()
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		rule  redis.Rule
		error string
		value string // of the key afterwards
	}{
		"the reply is lost": {redis.Rule{Do: proxy.Lose}, io.EOF.Error(), "2"},
		"cut before":        {redis.Rule{Do: proxy.Cut}, io.EOF.Error(), "1"},
		"answered":          {redis.Rule{Do: proxy.Answer, Reply: redis.ReadOnly}, redis.ReadOnly, "1"},
		"answered, cut":     {redis.Rule{Do: proxy.Answer, Reply: redis.Loading, HangUp: true}, redis.Loading, "1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, p, server := behind(t, 2)
			test.rule.Match, test.rule.Skip = redis.Command("INCR"), 1
			armed := p.Arm(test.rule)
			ctx := t.Context()
			if err := client.Incr(ctx, "n").Err(); err != nil {
				t.Fatal(err)
			}
			err := client.Incr(ctx, "n").Err()
			if err == nil || !strings.Contains(err.Error(), test.error) {
				t.Errorf("the command failed with %v, want %s", err, test.error)
			}
			armed.Await(t, 1)
			if got, _ := server.Get("n"); got != test.value {
				t.Errorf("the key is %s, want %s", got, test.value)
			}
			if err := client.Incr(ctx, "n").Err(); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// In a pipeline, what is before the command that is hit is answered, and what is behind it keeps its place.
func TestInAPipeline(t *testing.T) {
	t.Parallel()
	client, p, _ := behind(t, 2)
	p.Arm(redis.Rule{Match: redis.Command("INCR"), Skip: 1, Do: proxy.Answer, Reply: redis.OutOfMemory})
	ctx := t.Context()
	pipe := client.Pipeline()
	first, second, third := pipe.Incr(ctx, "n"), pipe.Incr(ctx, "n"), pipe.Incr(ctx, "n")
	_, _ = pipe.Exec(ctx) // each has its own
	if first.Val() != 1 || second.Err() == nil || third.Val() != 2 {
		t.Errorf("the replies are %v, %v, %v", first, second, third)
	}
	p.Arm(redis.Rule{Match: redis.Command("INCR"), Skip: 1, Do: proxy.Lose})
	pipe = client.Pipeline()
	first, second, third = pipe.Incr(ctx, "n"), pipe.Incr(ctx, "n"), pipe.Incr(ctx, "n")
	_, _ = pipe.Exec(ctx)
	if first.Val() != 3 || second.Err() == nil || third.Err() == nil {
		t.Errorf("the replies are %v, %v, %v", first, second, third)
	}
}

func TestHoldAndSwallow(t *testing.T) {
	t.Parallel()
	client, p, server := behind(t, 2)
	held := p.Arm(redis.Rule{Match: redis.Command("INCR"), Do: proxy.Hold})
	swallowed := p.Arm(redis.Rule{Match: redis.Command("INCR"), Do: proxy.Swallow})
	done := make(chan error, 2)
	go func() { done <- client.Incr(context.Background(), "n").Err() }()
	held.Await(t, 1)
	go func() { done <- client.Incr(context.Background(), "n").Err() }()
	swallowed.Await(t, 1)
	if server.Exists("n") {
		t.Error("the server was asked")
	}
	held.Release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.CutAll()
	if err := <-done; err == nil {
		t.Error("what was swallowed was answered")
	}
	if got, _ := server.Get("n"); got != "1" {
		t.Errorf("the key is %s, want 1", got)
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	const source = "return redis.call('PING')"
	client, p, _ := behind(t, 2)
	script := goredis.NewScript(source)
	byScript := p.Arm(redis.Rule{Match: redis.Script(source), Times: 2, Do: proxy.Answer, Reply: redis.NoScript})
	byDigest := p.Arm(redis.Rule{Match: redis.ByDigest, Do: proxy.Answer, Reply: redis.NoScript})
	if err := script.Run(t.Context(), client, nil).Err(); err == nil { // by digest, then by text
		t.Error("both were answered, and it worked")
	}
	if err := script.Run(t.Context(), client, nil).Err(); err != nil {
		t.Errorf("a script that the server does not know is not sent again: %v", err)
	}
	if byScript.Hits() != 2 || byDigest.Hits() != 1 {
		t.Errorf("hits %d and %d, want 2 and 1", byScript.Hits(), byDigest.Hits())
	}
	if redis.Asks(redis.Request{Name: "CLIENT"}) || !redis.Asks(redis.Request{Name: "GET"}) {
		t.Error("Asks is wrong")
	}
}
