package bull

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func TestMain(m *testing.M) {
	logging.Disable()
	m.Run()
}

// lines is a log, one message a line.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// messages are the messages of a text log, without what comes after.
func (l *lines) messages() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for line := range strings.Lines(l.buf.String()) {
		_, rest, _ := strings.Cut(line, `msg="`)
		message, _, _ := strings.Cut(rest, `"`)
		all = append(all, message)
	}
	return all
}

// bubble is a consumer on an in-memory Redis; both live on the bubble's clock.
type bubble struct {
	*miniredis.Miniredis
	queue *Queue
	log   lines
}

func newBubble(t *testing.T, config Config) *bubble {
	t.Helper()
	b := &bubble{Miniredis: miniredis.NewMiniRedis()}
	b.ClockTTL(true)
	client := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:0", Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return b.Dial() },
	})
	queue, err := New(client, config)
	if err != nil {
		t.Fatal(err)
	}
	b.queue = queue
	if err := queue.Ping(t.Context()); err != nil { // the first connection starts the server
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		b.Close()
	})
	return b
}

// run runs a consumer until stop is called.
func (b *bubble) run(t *testing.T, handler Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	consumer := &Consumer{Queue: b.queue, Handler: handler, Logger: slog.New(slog.NewTextHandler(&b.log, nil))}
	go func() { done <- consumer.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

func (b *bubble) add(t *testing.T, id string) {
	t.Helper()
	if _, err := b.queue.Add(t.Context(), Job{ID: id, Data: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
}

func (b *bubble) wantState(t *testing.T, id string, want State) {
	t.Helper()
	states, err := b.queue.State(t.Context(), []string{id})
	if err != nil || states[id] != want {
		t.Errorf("job %s is %s, %v, want %s", id, states[id], err, want)
	}
}

func TestLockIsRenewedWhileTheHandlerRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{})
		runs := make(chan error, 5)
		b.add(t, "a")
		stop := b.run(t, func(ctx context.Context, _ *Delivery) (any, error) {
			<-time.After(time.Hour) // the bubble's clock: 120 lock times, and as many stalled checks
			runs <- context.Cause(ctx)
			return nil, nil
		})
		if err := <-runs; err != nil {
			t.Errorf("the handler's context ended: %v", err)
		}
		synctest.Wait()
		b.wantState(t, "a", StateCompleted)
		stop()
		if got := b.HGet("bull:email-queue:a", "stalledCounter"); got != "" || len(runs) > 0 {
			t.Errorf("stalledCounter %q, %d more runs, want none", got, len(runs))
		}
	})
}

func TestRenewalOutlivesAShortOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{})
		b.add(t, "a")
		causes := make(chan error, 1)
		stop := b.run(t, func(ctx context.Context, _ *Delivery) (any, error) {
			// The renewal at 15 s fails, its retries at 20 s and 25 s also; the one at 30 s would be too late.
			<-time.After(14 * time.Second)
			b.SetError("LOADING gone")
			<-time.After(9 * time.Second)
			b.SetError("")
			<-time.After(time.Minute)
			causes <- context.Cause(ctx)
			return nil, nil
		})
		if err := <-causes; err != nil {
			t.Errorf("the handler's context ended: %v", err)
		}
		synctest.Wait()
		b.wantState(t, "a", StateCompleted)
		stop()
		want := []string{"Queue is unreachable, trying again until it answers", "Queue answers again"}
		if diff := cmp.Diff(want, b.log.messages()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func TestHandlerIsToldWhenTheLockCantBeRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{})
		b.add(t, "a")
		ended := make(chan time.Duration, 1)
		var once sync.Once
		again := make(chan struct{})
		stop := b.run(t, func(ctx context.Context, _ *Delivery) (any, error) {
			first := false
			once.Do(func() { first = true })
			if !first {
				close(again)
				return nil, nil
			}
			start := time.Now()
			b.SetError("LOADING gone")
			<-ctx.Done()
			if cause := context.Cause(ctx); !errors.Is(cause, ErrLockLost) {
				t.Errorf("the handler's context ended by %v, want ErrLockLost", cause)
			}
			ended <- time.Since(start)
			return nil, ctx.Err()
		})
		if got := (<-ended).Round(time.Second); got != 30*time.Second {
			t.Errorf("the handler was told after %s, want when the lock ran out, after 30s", got)
		}
		// The consumer is still there when Redis is, and the job runs again.
		<-time.After(10 * time.Minute)
		b.SetError("")
		<-again
		synctest.Wait()
		b.wantState(t, "a", StateCompleted)
		stop()
		messages := b.log.messages()
		want := []string{
			"Queue is unreachable, trying again until it answers",
			"Lost the lock of a job while it ran, leaving it to whoever has it",
			"Queue answers again",
			"Found jobs whose worker died",
		}
		if diff := cmp.Diff(want, messages); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func TestOutcomeIsWrittenWhenRedisIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{})
		b.add(t, "a")
		ran := make(chan struct{}, 5)
		stop := b.run(t, func(context.Context, *Delivery) (any, error) {
			b.SetError("LOADING gone")
			time.AfterFunc(10*time.Second, func() { b.SetError("") })
			ran <- struct{}{}
			return nil, nil
		})
		<-ran
		<-time.After(time.Minute)
		synctest.Wait()
		b.wantState(t, "a", StateCompleted)
		stop()
		if len(ran) > 0 {
			t.Error("the job ran twice")
		}
	})
}

// TestAwayCostsLittle: while Redis is away, a consumer asks it rarely, and logs it once.
func TestAwayCostsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{})
		b.SetError("LOADING not yet")
		stop := b.run(t, func(context.Context, *Delivery) (any, error) { return nil, nil })
		before := b.CommandCount()
		<-time.After(10 * time.Minute)
		if asked := b.CommandCount() - before; asked > 2000 {
			t.Errorf("%d commands in ten minutes without Redis", asked)
		}
		b.SetError("")
		<-time.After(time.Minute)
		b.add(t, "a")
		<-time.After(time.Second)
		b.wantState(t, "a", StateCompleted)
		stop()
		want := []string{"Queue is unreachable, trying again until it answers", "Queue answers again"}
		if diff := cmp.Diff(want, b.log.messages()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

// TestDelayedRunsWhenDue: at the due time, not at the next look; also if another program announces it.
func TestDelayedRunsWhenDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{GuardInterval: time.Hour})
		ran := make(chan time.Time, 5)
		stop := b.run(t, func(context.Context, *Delivery) (any, error) {
			ran <- time.Now()
			return nil, nil
		})
		<-time.After(time.Minute)
		start := time.Now()
		for _, delay := range []time.Duration{3 * time.Second, 1500 * time.Millisecond} {
			if _, err := b.queue.Add(t.Context(), Job{Data: []byte("{}"), Opts: Opts{Delay: delay}}); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []time.Duration{1500 * time.Millisecond, 3 * time.Second} {
			got := (<-ran).Sub(start)
			if got < want || got > want+5*time.Millisecond {
				t.Errorf("ran after %s, want %s", got, want)
			}
		}
		stop()
	})
}

func TestIsUnavailable(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err  error
		want bool
	}{
		"nothing":   {nil, false},
		"refused":   {&net.OpError{Op: "dial", Err: errors.New("refused")}, true},
		"cut":       {io.EOF, true},
		"slow":      {context.DeadlineExceeded, true},
		"pool":      {redis.ErrPoolTimeout, true},
		"given up":  {context.Canceled, false},
		"missing":   {redis.Nil, false},
		"invalid":   {&InvalidJobError{Err: errors.New("x")}, false},
		"lost lock": {ErrLockLost, false},
	}
	for name, test := range tests {
		if got := IsUnavailable(test.err); got != test.want {
			t.Errorf("%s: IsUnavailable = %v, want %v", name, got, test.want)
		}
	}
}

func TestServersThatCantServe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"LOADING Redis is loading the dataset in memory":        true,
		"OOM command not allowed when used memory > limit":      true,
		"READONLY You can't write against a read only replica.": true,
		"NOAUTH Authentication required.":                       true,
		"WRONGTYPE Operation against a key":                     false,
		"ERR syntax error":                                      false,
	} {
		m := miniredis.RunT(t)
		m.SetError(text)
		client := redis.NewClient(&redis.Options{Addr: m.Addr(), Protocol: 2, DisableIdentity: true, MaxRetries: -1})
		t.Cleanup(func() { _ = client.Close() })
		queue, err := New(client, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := queue.Add(t.Context(), Job{Data: []byte("{}")}); IsUnavailable(err) != want {
			t.Errorf("%q: IsUnavailable(%v) = %v, want %v", text, err, !want, want)
		}
	}
}
