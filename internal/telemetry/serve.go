package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Disabled is the address that stands for "no server".
const Disabled = "0"

// Limits bound what a client may take of a server. A zero field takes the default that is given with it.
type Limits struct {
	// ReadHeader is the time for a request's header: 5 seconds.
	ReadHeader time.Duration
	// Read is the time for a whole request: 30 seconds.
	Read time.Duration
	// Write is the time from the header's end to the answer's end: 30 seconds.
	Write time.Duration
	// Grace is how long requests under way may take to finish when the server stops: 10 seconds.
	Grace time.Duration
}

const (
	idleTimeout    = 60 * time.Second
	maxHeaderBytes = 32 << 10
)

func (l Limits) withDefaults() Limits {
	set := func(field *time.Duration, value time.Duration) {
		if *field == 0 {
			*field = value
		}
	}
	set(&l.ReadHeader, 5*time.Second)
	set(&l.Read, 30*time.Second)
	set(&l.Write, 30*time.Second)
	set(&l.Grace, 10*time.Second)
	return l
}

// Serve answers requests on address, with the default limits, until ctx ends. The address Disabled serves nothing and
// waits for the end of ctx. It returns nil after a clean stop.
func Serve(ctx context.Context, address string, handler http.Handler, logger *slog.Logger) error {
	if address == Disabled {
		<-ctx.Done()
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	return ServeListener(ctx, listener, handler, Limits{}, logger)
}

// ServeListener answers requests on the listener until ctx ends; requests under way are finished first, for the grace
// at most. It closes the listener, and returns nil after a clean stop.
func ServeListener(
	ctx context.Context, listener net.Listener, handler http.Handler, limits Limits, logger *slog.Logger,
) error {
	limits = limits.withDefaults()
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: limits.ReadHeader,
		ReadTimeout:       limits.Read,
		WriteTimeout:      limits.Write,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	select {
	case err := <-served:
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), limits.Grace)
	defer cancel()
	err := server.Shutdown(grace)
	if err != nil {
		err = fmt.Errorf("stopping the server on %s: %w", listener.Addr(), errors.Join(err, server.Close()))
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serving on %s: %w", listener.Addr(), end))
	}
	return err
}
