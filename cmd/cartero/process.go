package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/cartero-mail/cartero/internal/mail/smtp"
	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// process is what the parts in one process share.
type process struct {
	logger   *slog.Logger
	redactor *telemetry.Redactor
	registry interface {
		prometheus.Registerer
		prometheus.Gatherer
	}
	group *errgroup.Group

	relayOnce sync.Once
	relay     *telemetry.RelayMetrics
}

// showRelay adds a pool's connections to the metrics of the process.
func (p *process) showRelay(pool *smtp.Pool) {
	p.relayOnce.Do(func() { p.relay = telemetry.NewRelayMetrics(p.registry) })
	p.relay.Add(func() telemetry.RelayStats {
		s := pool.Stats()
		return telemetry.RelayStats{
			Busy: s.Busy, Idle: s.Idle, Dialing: s.Dialing, Limit: s.Limit, Waiting: s.Waiting,
			Sent: s.Sent, Followed: s.Followed, Dials: s.Dials, Cuts: s.Cuts, Disorders: s.Disorders,
		}
	})
}

// newProcess sets up the log of a command. The group's context ends with the first part that fails.
func newProcess(ctx context.Context, stderr io.Writer, t options.Telemetry, areas ...options.Area) (*process, context.Context) {
	redactor := telemetry.NewRedactor(options.Secrets(areas...)...)
	logger := telemetry.NewLogger(stderr, t.Level, t.LogFormat == options.LogJSON, redactor)
	telemetry.InstallKlog(logger)
	ctrl.SetLogger(telemetry.Logr(logger))
	group, ctx := errgroup.WithContext(ctx)
	// controller-runtime registers its metrics, and the runtime's, with a registry of its own: one is enough.
	return &process{logger: logger, redactor: redactor, registry: ctrlmetrics.Registry, group: group}, ctx
}

// serveTelemetry answers probes and serves metrics.
func (p *process) serveTelemetry(ctx context.Context, t options.Telemetry, checks ...telemetry.Check) {
	health := telemetry.NewHealth(p.logger, checks...)
	p.group.Go(func() error {
		return telemetry.Serve(ctx, t.HealthAddress, health.Handler(), p.logger)
	})
	p.group.Go(func() error {
		return telemetry.Serve(ctx, t.MetricsAddress, telemetry.MetricsHandler(p.registry), p.logger)
	})
}

// load reads the settings of a command.
func load(c cli, name, summary string, areas ...options.Area) error {
	return options.Command{Name: name, Summary: "cartero " + name + " " + summary + ".", Areas: areas}.Load(c.args, c.env, c.stdout)
}

const (
	firstPause = 500 * time.Millisecond
	lastPause  = 15 * time.Second
)

// untilAvailable repeats what needs a dependency that is away, with growing pauses, and logs the first failure and the
// recovery only. Any other error is returned.
func untilAvailable(
	ctx context.Context, logger *slog.Logger, dependency string, isUnavailable func(error) bool, attempt func() error,
) error {
	pause, waiting := firstPause, false
	for {
		err := attempt()
		switch {
		case err == nil && waiting:
			logger.Info("The " + dependency + " answers")
			return nil
		case err == nil || ctx.Err() != nil || !isUnavailable(err):
			return err
		case !waiting:
			logger.Warn("Waiting for the "+dependency, "error", err)
			waiting = true
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the %s: %w", dependency, context.Cause(ctx))
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		}
	}
}

// wait returns when every part has ended: nil after a signal, else what the first one failed with.
func (p *process) wait(ctx context.Context) error {
	err := p.group.Wait()
	if ctx.Err() != nil && (err == nil || errorIsCancellation(err)) {
		p.logger.Info("Stopped")
		return nil
	}
	return err
}

func errorIsCancellation(err error) bool {
	return errors.Is(err, context.Canceled)
}
