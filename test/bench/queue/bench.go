package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/test/bench/measure"
	"github.com/cartero-mail/cartero/test/nodejs"
)

// sample is what one measurement found.
type sample struct {
	// Rate is jobs a second.
	Rate float64 `json:"rate,omitempty"`
	// ClientCPU and RedisCPU are seconds of processor time for 100,000 jobs.
	ClientCPU float64 `json:"clientCPU,omitempty"`
	RedisCPU  float64 `json:"redisCPU,omitempty"`
	// P50, P95 and P99 are milliseconds from the call that adds to the call of the handler.
	P50 float64 `json:"p50,omitempty"`
	P95 float64 `json:"p95,omitempty"`
	P99 float64 `json:"p99,omitempty"`
}

// samples are the measurements of all rounds, by step and side.
type samples map[string]*[2][]sample

// bench holds the processes of one run. Each side has a producer and a consumer of its own, which live as long as the
// run: start-up and compilation are over when counting begins.
type bench struct {
	client    redis.UniversalClient
	prefix    string
	producers [2]*measure.Child
	consumers [2]*measure.Child
	versions  [2]string
	queues    int // used so far: each measurement has a queue of its own
	progress  io.Writer
}

// newBench starts the children. Every key that the run writes begins with a prefix of its own.
func newBench(url, profile string, progress io.Writer) (_ *bench, err error) {
	client, err := conn.Open(url)
	if err != nil {
		return nil, err
	}
	b := &bench{client: client, prefix: "bench-" + uuid.NewString()[:8], progress: progress}
	defer func() {
		if err != nil {
			b.kill()
		}
	}()
	dir, err := nodejs.Install()
	if err != nil {
		return nil, err
	}
	for _, role := range []string{"producer", "consumer"} {
		node := exec.Command("node", "bench/queue.js")
		node.Dir = dir
		self, err := measure.Self(oursChild)
		if err != nil {
			return nil, err
		}
		commands := [2]*exec.Cmd{node, self}
		for _, side := range []side{peer, ours} {
			env := []string{envRedis + "=" + url, envPrefix + "=" + b.prefix}
			if profile != "" {
				env = append(env, envProfile+"="+profile+"."+role)
			}
			child, err := measure.StartChild(side.String()+"'s "+role, commands[side], env...)
			if err != nil {
				return nil, err
			}
			if role == "producer" {
				b.producers[side] = child
			} else {
				b.consumers[side] = child
			}
			hello, err := do(child, request{Do: "hello"})
			if err != nil {
				return nil, err
			}
			b.versions[side] = hello.Version
		}
	}
	return b, nil
}

// close ends the children and waits for them.
func (b *bench) close() error {
	var errs []error
	for _, child := range slices.Concat(b.producers[:], b.consumers[:]) {
		errs = append(errs, child.Close())
	}
	return errors.Join(append(errs, b.client.Close())...)
}

func (b *bench) kill() {
	for _, child := range slices.Concat(b.producers[:], b.consumers[:]) {
		child.Kill()
	}
	_ = b.client.Close()
}

// measure runs all steps, first once to warm up, and then rounds times. The sides take turns in who is first.
func (b *bench) measure(ctx context.Context, steps []step, rounds int) (samples, error) {
	found := samples{}
	begun := time.Now()
	for round := range rounds + 1 {
		for _, step := range steps {
			if found[step.name] == nil {
				found[step.name] = &[2][]sample{}
			}
			order := []side{peer, ours}
			if round%2 == 1 {
				slices.Reverse(order)
			}
			var told [2]string
			for _, side := range order {
				if step.work[side] == nil {
					continue
				}
				s, err := b.one(ctx, step, side)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", step.name, side, err)
				}
				if round > 0 {
					found[step.name][side] = append(found[step.name][side], s)
				}
				told[side] = fmt.Sprintf("  %s %s", side, s.brief())
			}
			title := "warm-up"
			if round > 0 {
				title = fmt.Sprintf("round %d of %d", round, rounds)
			}
			fmt.Fprintf(b.progress, "%4.0f s  %s: %-22s%-28s%s\n",
				time.Since(begun).Seconds(), title, step.name, told[peer], told[ours])
		}
	}
	return found, nil
}

func (s sample) brief() string {
	if s.Rate > 0 {
		return fmt.Sprintf("%.0f jobs/s", s.Rate)
	}
	return fmt.Sprintf("p50 %.2f ms, p99 %.2f ms", s.P50, s.P99)
}

// one measures one step on one side, on a fresh queue, of which nothing is left afterwards.
func (b *bench) one(ctx context.Context, step step, side side) (s sample, err error) {
	b.queues++
	work := *step.work[side]
	work.request.Queue = "q" + strconv.Itoa(b.queues)
	defer func() { err = errors.Join(err, measure.Forget(ctx, b.client, b.prefix+":"+work.request.Queue+":")) }()

	if step.kind == kindLatency {
		return b.latency(work, side)
	}
	worker := b.producers[side]
	if step.kind == kindProcess {
		worker = b.consumers[side]
		if err := b.fill(ctx, work); err != nil {
			return s, err
		}
	}
	before, err := b.redisCPU(ctx)
	if err != nil {
		return s, err
	}
	answer, err := do(worker, work.request)
	if err != nil {
		return s, err
	}
	after, err := b.redisCPU(ctx)
	if err != nil {
		return s, err
	}
	per := 100_000 / float64(answer.Jobs)
	return sample{
		Rate:      float64(answer.Jobs) / answer.Seconds,
		ClientCPU: answer.CPU * per,
		RedisCPU:  (after - before) * per,
	}, nil
}

// fill adds the jobs that a consumer is to work off.
func (b *bench) fill(ctx context.Context, w work) error {
	queue, err := bull.New(b.client, bull.Config{Prefix: b.prefix, Queue: w.request.Queue})
	if err != nil {
		return err
	}
	job := bull.Job{Data: []byte(`{"jobUuid":"00000000-0000-4000-8000-000000000000"}`)}
	if !w.keep {
		job.Opts.RemoveOnComplete = bull.KeepNone()
	}
	for batch := range slices.Chunk(slices.Repeat([]bull.Job{job}, w.request.Count), 1000) {
		if _, err := queue.AddBulk(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// latency has one side add jobs, one at a time, and one side's consumer wait for them.
func (b *bench) latency(w work, producer side) (sample, error) {
	consumer := b.consumers[w.consumer]
	if _, err := do(consumer, request{Do: "watch", Queue: w.request.Queue, Count: w.request.Count}); err != nil {
		return sample{}, err
	}
	added, err := do(b.producers[producer], w.request)
	if err != nil {
		return sample{}, err
	}
	handled, err := do(consumer, request{Do: "collect"})
	if err != nil {
		return sample{}, err
	}
	return percentiles(added.Times, handled.Times), nil
}

// percentiles of the time from adding to handling, without the first jobs added.
func percentiles(added, handled map[string]int64) sample {
	ids := make([]string, 0, len(added))
	for id := range added {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return int(added[a] - added[b]) })
	var waited []float64
	for _, id := range ids[min(unmeasured, len(ids)-1):] {
		waited = append(waited, float64(handled[id]-added[id])/1e6)
	}
	slices.Sort(waited)
	return sample{P50: measure.Quantile(waited, 0.5), P95: measure.Quantile(waited, 0.95), P99: measure.Quantile(waited, 0.99)}
}

// redisCPU is the processor time that the server has used, in seconds.
func (b *bench) redisCPU(ctx context.Context) (float64, error) {
	total := 0.0
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		text, err := b.info(ctx, "cpu", name)
		if err != nil {
			return 0, err
		}
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", name, err)
		}
		total += seconds
	}
	return total, nil
}

// info reads one field of INFO.
func (b *bench) info(ctx context.Context, section, name string) (string, error) {
	text, err := b.client.Info(ctx, section).Result()
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("the server's INFO %s has no %s", section, name)
}
