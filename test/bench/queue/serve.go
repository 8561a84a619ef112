package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/test/bench/measure"
)

// server is Cartero's side: what a child process does.
type server struct {
	client redis.UniversalClient
	prefix string
	uuids  int

	watched *watcher // what watch began, for collect
	stopped sync.WaitGroup
}

// serve answers the requests on in until it ends.
func serve(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	if path := os.Getenv(envProfile); path != "" {
		file, err := os.Create(path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	client, err := conn.Open(os.Getenv(envRedis))
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	s := &server{client: client, prefix: os.Getenv(envPrefix)}
	defer s.stopped.Wait()

	commands := map[string]func(context.Context, request) (reply, error){
		"hello": hello, "add": s.add, "run": s.run, "trickle": s.trickle, "watch": s.watch, "collect": s.collect,
	}
	return measure.Answer(in, out, func(r request) (any, error) { return commands[r.Do](ctx, r) })
}

func hello(context.Context, request) (reply, error) {
	return reply{Version: "Cartero, " + runtime.Version()}, nil
}

func (s *server) queue(name string) (*bull.Queue, error) {
	return bull.New(s.client, bull.Config{Prefix: s.prefix, Queue: name})
}

// job is one to add, with data of its own as Bull's side makes it.
func (s *server) job() bull.Job {
	data := fmt.Appendf(nil, `{"jobUuid":"00000000-0000-4000-8000-%012d"}`, s.uuids)
	s.uuids++
	return bull.Job{Data: data, Opts: bull.Opts{RemoveOnComplete: bull.KeepNone()}}
}

func (s *server) add(ctx context.Context, r request) (reply, error) {
	queue, err := s.queue(r.Queue)
	if err != nil {
		return reply{}, err
	}
	if err := s.client.Ping(ctx).Err(); err != nil {
		return reply{}, err
	}
	stop := startMeter()
	end := time.Now().Add(time.Duration(r.Millis) * time.Millisecond)
	jobs := 0
	for jobs == 0 || time.Now().Before(end) {
		if err := s.addOnce(ctx, queue, r); err != nil {
			return reply{}, err
		}
		jobs += r.Size
	}
	return stop(jobs), nil
}

func (s *server) addOnce(ctx context.Context, queue *bull.Queue, r request) error {
	if r.Way == wayOne {
		_, err := queue.Add(ctx, s.job())
		return err
	}
	batch := make([]bull.Job, r.Size)
	for i := range batch {
		batch[i] = s.job()
	}
	_, err := queue.AddBulk(ctx, batch)
	return err
}

// run works off r.Count jobs, from the first call of the handler until none is waiting or active.
func (s *server) run(ctx context.Context, r request) (reply, error) {
	queue, err := s.queue(r.Queue)
	if err != nil {
		return reply{}, err
	}
	var (
		first   sync.Once
		stop    func(int) reply
		handled atomic.Int64
		all     = make(chan struct{})
	)
	end := s.consume(ctx, queue, r.Concurrency, func(context.Context, *bull.Delivery) (any, error) {
		first.Do(func() { stop = startMeter() })
		if handled.Add(1) == int64(r.Count) {
			close(all)
		}
		return nil, nil
	})
	defer end()
	<-all
	if err := s.drained(ctx, r.Queue); err != nil {
		return reply{}, err
	}
	return stop(r.Count), nil
}

// consume runs a consumer until end is called, which does not wait for it: a pop that blocks may take a second to return.
func (s *server) consume(ctx context.Context, queue *bull.Queue, concurrency int, handler bull.Handler) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	consumer := &bull.Consumer{Queue: queue, Concurrency: concurrency, Handler: handler}
	s.stopped.Go(func() {
		if err := consumer.Run(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
	return cancel
}

func (s *server) drained(ctx context.Context, queue string) error {
	base := s.prefix + ":" + queue + ":"
	for {
		pipe := s.client.TxPipeline()
		waiting, active := pipe.LLen(ctx, base+"wait"), pipe.LLen(ctx, base+"active")
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		if waiting.Val()+active.Val() == 0 {
			return nil
		}
	}
}

// trickle adds one job every r.Gap milliseconds and tells when it began to add each.
func (s *server) trickle(ctx context.Context, r request) (reply, error) {
	queue, err := s.queue(r.Queue)
	if err != nil {
		return reply{}, err
	}
	times := make(map[string]int64, r.Count)
	ticker := time.NewTicker(time.Duration(r.Gap) * time.Millisecond)
	defer ticker.Stop()
	for range r.Count {
		<-ticker.C
		begun := clock()
		added, err := queue.Add(ctx, s.job())
		if err != nil {
			return reply{}, err
		}
		times[added.ID] = begun
	}
	return reply{Jobs: r.Count, Times: times}, nil
}

type watcher struct {
	queue string
	times map[string]int64
	all   chan struct{}
	end   func()
}

// watch starts a consumer that notes when its handler is called.
func (s *server) watch(ctx context.Context, r request) (reply, error) {
	queue, err := s.queue(r.Queue)
	if err != nil {
		return reply{}, err
	}
	w := &watcher{queue: r.Queue, times: make(map[string]int64, r.Count), all: make(chan struct{})}
	w.end = s.consume(ctx, queue, 1, func(_ context.Context, d *bull.Delivery) (any, error) {
		w.times[d.ID] = clock() // one at a time
		if len(w.times) == r.Count {
			close(w.all)
		}
		return nil, nil
	})
	s.watched = w
	return reply{}, nil
}

func (s *server) collect(ctx context.Context, _ request) (reply, error) {
	w := s.watched
	<-w.all
	if err := s.drained(ctx, w.queue); err != nil {
		return reply{}, err
	}
	w.end()
	return reply{Times: w.times}, nil
}

// clock is the machine's monotonic clock in ns, which Node's process.hrtime reads too.
func clock() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic("reading the monotonic clock: " + err.Error())
	}
	return t.Nano()
}

// startMeter measures wall clock and the processor time of this process.
func startMeter() (stop func(jobs int) reply) {
	start, used := time.Now(), cpuSeconds()
	return func(jobs int) reply {
		return reply{Jobs: jobs, Seconds: time.Since(start).Seconds(), CPU: cpuSeconds() - used}
	}
}

func cpuSeconds() float64 {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		panic("reading the processor time: " + err.Error())
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}
