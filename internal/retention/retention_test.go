package retention_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/retention"
	"github.com/cartero-mail/cartero/internal/store"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// script is a Store that does what it is told, and remembers what was asked.
type script struct {
	calls   []string
	expired []retention.Expired
	keys    [][]string
	err     error
	discard func(key string) error
}

func (s *script) Expire(_ context.Context, before time.Time, after retention.Position) (retention.Expired, error) {
	s.calls = append(s.calls, fmt.Sprintf("expire %v after %q", now.Sub(before), after.Key))
	if s.err != nil || len(s.expired) == 0 {
		return retention.Expired{}, s.err
	}
	next := s.expired[0]
	s.expired = s.expired[1:]
	return next, nil
}

func (s *script) Abandoned(_ context.Context, before time.Time, limit int) ([]string, error) {
	s.calls = append(s.calls, fmt.Sprintf("abandoned %v, %d", now.Sub(before), limit))
	if s.err != nil || len(s.keys) == 0 {
		return nil, s.err
	}
	keys := s.keys[0]
	s.keys = s.keys[1:]
	return keys, nil
}

func (s *script) Discard(_ context.Context, key string) error {
	s.calls = append(s.calls, "discard "+key)
	if s.discard != nil {
		return s.discard(key)
	}
	return nil
}

func cleaner(t *testing.T, cfg retention.Config) *retention.Cleaner {
	t.Helper()
	cfg.Pause, cfg.Now = time.Nanosecond, func() time.Time { return now }
	c, err := retention.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCleanGoesOnUntilNothingIsLeft(t *testing.T) {
	t.Parallel()
	full := strings.Fields(strings.Repeat("http/x ", 100))
	s := &script{
		expired: []retention.Expired{
			{Recipients: 1000, More: true},
			{Recipients: 5, Campaigns: 2, Next: retention.Position{SealedAt: now, Key: "http/b"}},
			{Next: retention.Position{SealedAt: now, Key: "http/c"}},
		},
		keys:    [][]string{full, {"http/sealed", "http/y"}},
		discard: func(key string) error { return map[string]error{"http/sealed": campaign.ErrSealed}[key] },
	}
	var log bytes.Buffer
	err := cleaner(t, retention.Config{Store: s, Keep: 48 * time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))}).Clean(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"abandoned 24h0m0s, 100"}
	for range full {
		want = append(want, "discard http/x")
	}
	want = append(want, "abandoned 24h0m0s, 100", "discard http/sealed", "discard http/y",
		`expire 48h0m0s after ""`, `expire 48h0m0s after ""`, `expire 48h0m0s after "http/b"`, `expire 48h0m0s after "http/c"`)
	if diff := cmp.Diff(want, s.calls); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"campaigns=101", "campaigns=2 recipients=1005"} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("the log lacks %q: %s", text, log.String())
		}
	}
}

func TestWithoutRetentionOnlyTheAbandonedGo(t *testing.T) {
	t.Parallel()
	s := &script{keys: [][]string{{"http/a"}}}
	if err := cleaner(t, retention.Config{Store: s}).Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"abandoned 24h0m0s, 100", "discard http/a"}, s.calls); diff != "" {
		t.Error(diff)
	}
}

func TestCleanFails(t *testing.T) {
	t.Parallel()
	errAway := errors.New("away")
	for name, s := range map[string]*script{
		"reading":    {err: errAway},
		"discarding": {keys: [][]string{{"http/a"}}, discard: func(string) error { return errAway }},
	} {
		if err := cleaner(t, retention.Config{Store: s, Keep: time.Hour}).Clean(t.Context()); !errors.Is(err, errAway) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// notedOutage is a Store that is away twice, then there, and then ends the test's run.
type notedOutage struct {
	script

	tries int
	stop  func()
}

func (s *notedOutage) Abandoned(context.Context, time.Time, int) ([]string, error) {
	s.tries++
	switch {
	case s.tries < 3:
		return nil, errors.New("away")
	case s.tries == 4:
		s.stop()
	}
	return nil, nil
}

func TestRunLogsAnOutageOnceAndStops(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var log bytes.Buffer
	cfg := retention.Config{
		Store: &notedOutage{stop: stop}, Interval: 2 * time.Nanosecond, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	if err := cleaner(t, cfg).Run(ctx); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"Removing old records failed", "Removing old records works again"} {
		if n := strings.Count(log.String(), text); n != 1 {
			t.Errorf("%q is in the log %d times: %s", text, n, log.String())
		}
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]retention.Config{
		"Store is required":    {},
		"must not be negative": {Store: &script{}, Keep: -1},
	} {
		if _, err := retention.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// On a real store: what is old goes, and a list that somebody stopped writing.
func TestCleanOnAStore(t *testing.T) {
	t.Parallel()
	db, err := store.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "test.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := now.Add(-49 * time.Hour)
	for key, origin := range map[string]campaign.Origin{"http/abandoned": campaign.OriginHTTP, "ns/slow": campaign.OriginKubernetes} {
		if _, err := db.Open(t.Context(), campaign.Draft{Key: key, Origin: origin, JobSize: 1, CreatedAt: old}); err != nil {
			t.Fatal(err)
		}
	}
	mails := []campaign.Submission{
		{Key: "http/old", Recipients: []campaign.Recipient{{Address: "ada@example.com"}}, CreatedAt: old},
		{Key: "http/waiting", Recipients: []campaign.Recipient{{Address: "ada@example.com"}}, CreatedAt: old},
	}
	if _, err := db.Submit(t.Context(), mails, nil, old); err != nil {
		t.Fatal(err)
	}
	if err := db.Cancel(t.Context(), "http/old", campaign.EndCancelled, old); err != nil {
		t.Fatal(err)
	}
	if err := cleaner(t, retention.Config{Store: db, Keep: 48 * time.Hour}).Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]error{
		"http/abandoned": campaign.ErrNotFound, "http/old": campaign.ErrNotFound, "http/waiting": nil, "ns/slow": nil,
	} {
		if _, err := db.Campaign(t.Context(), key); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", key, err, want)
		}
	}
}
