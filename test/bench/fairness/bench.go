package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// key is the facade's X-API-Key.
	key = "bench"
	// patience bounds a wait for something that should come.
	patience = 5 * time.Minute
	// smallSize is the number of recipients of a small campaign.
	smallSize = 100
)

// bench is the system that is measured.
type bench struct {
	settings  settings
	progress  io.Writer
	directory string
	sink      *sink
	facade    string
	env       []string // of every part
	parts     []*exec.Cmd
	before    int // mails that came before both were started
}

func newBench(ctx context.Context, s settings, progress io.Writer) (b *bench, err error) {
	b = &bench{settings: s, progress: progress}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.directory, err = os.MkdirTemp("", "bench-fairness-"); err != nil {
		return nil, err
	}
	if b.sink, err = newSink(ctx); err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	b.facade = "http://" + address
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	host, smtp, err := net.SplitHostPort(b.sink.listener.Addr().String())
	if err != nil {
		return nil, err
	}
	b.env = []string{
		"DATABASE_URL=" + b.settings.database, "REDIS_URL=" + b.settings.redis, "BULL_PREFIX=" + filepath.Base(b.directory),
		"SMTP_SERVER=" + host, "SMTP_PORT=" + smtp, "SMTP_USE_TLS=false", "SMTP_FROM=news@news.example.com",
		"SMTP_HELO_NAME=bench.example.com", "API_KEY=" + key, "SERVICE_HOST=127.0.0.1", "SERVICE_PORT=" + port,
		"METRICS_BIND_ADDRESS=0", "HEALTH_PROBE_BIND_ADDRESS=0",
	}
	return b, nil
}

// startBoth starts a facade and a worker.
func (b *bench) startBoth(ctx context.Context) error {
	b.before = b.sink.count()
	for _, name := range []string{"facade", "worker"} {
		if err := b.start(ctx, name, name); err != nil {
			return err
		}
	}
	return b.until(ctx, "the facade answers", func() bool {
		return b.call(ctx, http.MethodGet, "/readyz", nil, http.StatusOK) == nil
	})
}

func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// start starts a part of cartero, whose log and journal are in the directory under this name.
func (b *bench) start(ctx context.Context, command, name string, env ...string) error {
	log, err := os.Create(filepath.Join(b.directory, name+".log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	part := exec.CommandContext(ctx, b.settings.cartero, command)
	part.Stdout, part.Stderr = log, log
	part.Env = slices.Concat(b.env, env, []string{"PATH=" + os.Getenv("PATH"), "WORKER_JOURNAL_DIR=" + filepath.Join(b.directory, name)})
	if err := part.Start(); err != nil {
		return fmt.Errorf("starting cartero %s: %w", command, err)
	}
	b.parts = append(b.parts, part)
	return nil
}

// stop ends the parts.
func (b *bench) stop() error {
	var errs []error
	for _, part := range b.parts {
		errs = append(errs, part.Process.Signal(syscall.SIGTERM), part.Wait())
	}
	b.parts = nil
	return errors.Join(errs...)
}

func (b *bench) close() error {
	errs := []error{b.stop()}
	if b.sink != nil {
		errs = append(errs, b.sink.listener.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(b.directory))...)
}

// until waits for something, patience at most.
func (b *bench) until(ctx context.Context, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		case <-ticker.C:
		}
	}
	return nil
}

// call calls the facade, which has to answer with this status.
func (b *bench) call(ctx context.Context, method, path string, body any, status int) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, b.facade+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("X-Api-Key", key)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != status {
		err = fmt.Errorf("%s %s: status %d: %s", method, path, response.StatusCode, answer)
	}
	return err
}

// campaign hands in a campaign to so many addresses of a domain.
func (b *bench) campaign(ctx context.Context, domain string, n int) error {
	people := make([]string, n)
	for i := range people {
		people[i] = fmt.Sprintf("reader%06d@%s", i, domain)
	}
	return b.call(ctx, http.MethodPost, "/send-campaign", map[string]any{
		"subject": "News of " + domain, "body": "There is news.", "recipients": people,
	}, http.StatusAccepted)
}

// measured is what one run came to.
type measured struct {
	// perSecond is how fast the large campaign was meanwhile, all mails counted.
	perSecond float64
	// single are waits of single mails; begun and ended are those for the first and the last mail of a small campaign.
	single, begun, ended []time.Duration
	// over: the large campaign had ended before the last of the others was measured.
	over bool
}

// measure sends a large campaign, and others in the middle of it.
func (b *bench) measure(ctx context.Context, number int, delay time.Duration) (m measured, err error) {
	b.sink.slow(delay)
	defer b.sink.slow(0)
	start := b.sink.count()
	_, _ = fmt.Fprintf(b.progress, "bench: %s for a mail: handing in the campaign\n", delay)
	if err := b.campaign(ctx, fmt.Sprintf("large%d.example", number), b.settings.recipients); err != nil {
		return m, err
	}
	if err := b.until(ctx, "the campaign is being sent", func() bool { return b.sink.count()-start >= 100 }); err != nil {
		return m, err
	}
	began, before := time.Now(), b.sink.count()
	var waiting sync.WaitGroup
	var failures [2]error
	waiting.Go(func() { m.single, failures[0] = b.singles(ctx, number) })
	waiting.Go(func() { m.begun, m.ended, failures[1] = b.smalls(ctx, number) })
	waiting.Wait()
	m.perSecond = float64(b.sink.count()-before) / time.Since(began).Seconds()
	m.over = b.sink.count()-start >= b.settings.recipients
	return m, errors.Join(failures[:]...)
}

// drain waits until the campaigns of so many runs are over.
func (b *bench) drain(ctx context.Context, runs int) error {
	all := runs * (b.settings.recipients + b.settings.mails + b.settings.small*smallSize)
	return b.until(ctx, "all is sent", func() bool { return b.sink.count()-b.before >= all })
}

// singles hands in single mails, one after another at fixed times whatever becomes of those before.
func (b *bench) singles(ctx context.Context, number int) ([]time.Duration, error) {
	waits := make([]time.Duration, b.settings.mails)
	errs := make([]error, b.settings.mails)
	var sending sync.WaitGroup
	ticker := time.NewTicker(b.settings.every)
	defer ticker.Stop()
	for i := range waits {
		<-ticker.C
		sending.Go(func() {
			address := fmt.Sprintf("single%d@run%d.example", i, number)
			came, began := b.sink.await(address), time.Now()
			errs[i] = b.call(ctx, http.MethodPost, "/send_async", map[string]any{
				"to": address, "subject": "Your code", "body": "4711", "message_type": "code",
			}, http.StatusAccepted)
			if errs[i] == nil {
				waits[i], errs[i] = since(ctx, began, came)
			}
		})
	}
	sending.Wait()
	return waits, errors.Join(errs...)
}

// smalls hands in small campaigns, evenly over the time of the single mails.
func (b *bench) smalls(ctx context.Context, number int) (begun, ended []time.Duration, err error) {
	begun, ended = make([]time.Duration, b.settings.small), make([]time.Duration, b.settings.small)
	errs := make([]error, b.settings.small)
	var sending sync.WaitGroup
	ticker := time.NewTicker(max(b.settings.every*time.Duration(b.settings.mails/b.settings.small), time.Millisecond))
	defer ticker.Stop()
	for i := range begun {
		<-ticker.C
		sending.Go(func() {
			domain := fmt.Sprintf("small%d-%d.example", number, i)
			came := make([]<-chan time.Time, smallSize)
			for n := range came {
				came[n] = b.sink.await(fmt.Sprintf("reader%06d@%s", n, domain))
			}
			began := time.Now()
			if errs[i] = b.campaign(ctx, domain, smallSize); errs[i] != nil {
				return
			}
			all := make([]time.Duration, smallSize)
			for n := range came {
				if all[n], errs[i] = since(ctx, began, came[n]); errs[i] != nil {
					return
				}
			}
			begun[i], ended[i] = slices.Min(all), slices.Max(all)
		})
	}
	sending.Wait()
	return begun, ended, errors.Join(errs...)
}

func since(ctx context.Context, began time.Time, came <-chan time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case at := <-came:
		return at.Sub(began), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for a mail: %w", context.Cause(ctx))
	}
}

// print writes the rows of a table.
func (m measured) print(out io.Writer, delay time.Duration) error {
	for _, row := range []struct {
		what  string
		waits []time.Duration
	}{
		{"single mails", m.single}, {"small campaigns, first mail", m.begun}, {"small campaigns, last mail", m.ended},
	} {
		slices.Sort(row.waits)
		at := func(percent int) float64 {
			return float64(row.waits[(len(row.waits)*percent+99)/100-1].Microseconds()) / 1000
		}
		note := ""
		if m.over {
			note = " (the campaign ended first)"
		}
		_, err := fmt.Fprintf(out, "| %s | %.0f%s | %s | %d | %.0f | %.0f | %.0f | %.0f |\n", delay, m.perSecond, note, row.what,
			len(row.waits), at(50), at(90), at(99), at(100))
		if err != nil {
			return err
		}
	}
	return nil
}
