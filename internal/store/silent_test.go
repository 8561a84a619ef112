package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"gorm.io/gorm"
)

// TestASilentServer: a call that is not answered in time is an outage, not an end; one that was told to stop, or failed by
// itself, is what it is.
func TestASilentServer(t *testing.T) {
	t.Parallel()
	s := &Store{engine: engineMySQL, callLimit: time.Nanosecond}
	err := s.within(t.Context(), func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if !IsUnavailable(err) || worthRepeating(err) || !errors.Is(err, errSilent) {
		t.Errorf("a silent server: %v", err)
	}

	s.callLimit = time.Hour
	stopped, stop := context.WithCancel(t.Context())
	stop()
	err = s.within(stopped, func(ctx context.Context) error { return ctx.Err() })
	if IsUnavailable(err) || !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v", err)
	}
	if err := s.within(t.Context(), func(context.Context) error { return gorm.ErrDuplicatedKey }); !errors.Is(err, gorm.ErrDuplicatedKey) || IsUnavailable(err) {
		t.Errorf("a fault: %v", err)
	}
	if err := s.within(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Errorf("all well: %v", err)
	}
}
