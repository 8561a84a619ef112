package facade_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail"
)

// small is a campaign of two jobs.
const small = `{"subject":"Hi","body":"text","recipients":["a@example.com","b@example.com","c@example.com","d@example.com"]}`

func acceptedSmall(queued bool) reply {
	return reply{http.StatusAccepted, headers("Location", "/jobs/"+job(0)), fmt.Sprintf(
		`{"ok":true,"jobId":"%s","jobIds":["%[1]s","%s"],"accepted":4,"duplicates":0,"invalid":0,"queued":%t}`, job(0), job(1), queued)}
}

func TestSendCampaignWithoutASender(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *facade.Config) { cfg.DefaultFrom = mail.Address{} })
	want := reply{
		http.StatusUnprocessableEntity, headers(),
		`{"ok":false,"error":"from: is required","detail":[` + problem("missing", "is required", `,"from"`) + `]}`,
	}
	if diff := cmp.Diff(want, f.send(small)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestSendCampaignAndTheQueue(t *testing.T) {
	t.Parallel()
	full := reply{
		http.StatusServiceUnavailable, headers("Retry-After", "5"),
		`{"ok":false,"error":"the queue is full: try again later"}`,
	}
	tests := []struct {
		name    string
		waiting int64
		err     error
		bell    error
		want    reply
	}{
		{name: "room for one more", waiting: 99, want: acceptedSmall(true)},
		{name: "full", waiting: 100, want: full},
		{name: "away", err: errAway, bell: errAway, want: acceptedSmall(false)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.waiting, f.queueErr, f.bell.err = tt.waiting, tt.err, tt.bell
			if diff := cmp.Diff(tt.want, f.send(small)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if tt.want.Status != http.StatusAccepted {
				f.nothingLeft()
			}
		})
	}
}

func TestSendCampaignAndTheDatabase(t *testing.T) {
	t.Parallel()
	failSecond := func(cause error) func(func(context.Context, campaign.Shard) error, context.Context, campaign.Shard) error {
		return func(next func(context.Context, campaign.Shard) error, ctx context.Context, shard campaign.Shard) error {
			if shard.Number == 1 {
				return cause
			}
			return next(ctx, shard)
		}
	}
	t.Run("away half-way", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.ledger.writeShard = failSecond(errAway)
		want := reply{
			http.StatusServiceUnavailable, headers("Retry-After", "5"),
			`{"ok":false,"error":"the database is not available: try again later"}`,
		}
		if diff := cmp.Diff(want, f.send(small)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		f.nothingLeft()
	})
	t.Run("broken half-way", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.ledger.writeShard = failSecond(errors.New("column of a@example.com missing"))
		want := reply{http.StatusInternalServerError, headers(), `{"ok":false,"error":"internal error"}`}
		if diff := cmp.Diff(want, f.send(small)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		f.nothingLeft()
	})
	t.Run("sealed, but the reply was lost", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.ledger.seal = func(campaign.Record, error) (campaign.Record, error) { return campaign.Record{}, errAway }
		if diff := cmp.Diff(acceptedSmall(true), f.send(small)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{campaignKey}, f.bell.keys); diff != "" {
			t.Errorf("rung (-want +got):\n%s", diff)
		}
	})
	t.Run("the process dies half-way", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.ledger.writeShard = func(next func(context.Context, campaign.Shard) error, ctx context.Context, shard campaign.Shard) error {
			if shard.Number == 1 {
				panic("as good as dead, with a@example.com in hand")
			}
			return next(ctx, shard)
		}
		want := reply{http.StatusInternalServerError, headers(), `{"ok":false,"error":"internal error"}`}
		if diff := cmp.Diff(want, f.send(small)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		if due, err := f.store.DueJobs(t.Context(), "", at, at, 10); err != nil || len(due) > 0 {
			t.Errorf("jobs of an unsealed campaign are due: %v, %v", due, err)
		}
		if got := f.recipients(); len(got) > 0 {
			t.Errorf("recipients of an unsealed campaign were claimed: %d", len(got))
		}
	})
}

func TestSendCampaignClientGoesAway(t *testing.T) {
	t.Parallel()
	t.Run("during the upload", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		cut := io.MultiReader(strings.NewReader(small[:len(small)-20]), failingReader{})
		want := problemReply(http.StatusBadRequest, "the body could not be read", "Connection", "close")
		if diff := cmp.Diff(want, f.do(post(cut))); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		if n := f.ledger.opened.Load(); n > 0 {
			t.Errorf("%d campaigns were opened", n)
		}
	})
	t.Run("while the rows are written", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		ctx, leave := context.WithCancel(t.Context())
		f.ledger.writeShard = func(next func(context.Context, campaign.Shard) error, ctx context.Context, shard campaign.Shard) error {
			defer leave()
			return next(ctx, shard)
		}
		f.do(post(strings.NewReader(small)).WithContext(ctx))
		f.nothingLeft()
	})
	t.Run("after the seal", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		ctx, leave := context.WithCancel(t.Context())
		f.ledger.seal = func(record campaign.Record, err error) (campaign.Record, error) {
			leave()
			return record, err
		}
		f.do(post(strings.NewReader(small)).WithContext(ctx))
		if diff := cmp.Diff([]string{campaignKey}, f.bell.keys); diff != "" {
			t.Errorf("rung (-want +got):\n%s", diff)
		}
	})
}

// failingReader is a connection that breaks.
type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("connection reset by peer") }

func TestSendCampaignLimitsTheBody(t *testing.T) {
	t.Parallel()
	limit := func(cfg *facade.Config) { cfg.MaxBody = 50 }
	want := problemReply(http.StatusRequestEntityTooLarge, "the body is larger than 50 bytes", "Connection", "close")
	t.Run("announced", func(t *testing.T) {
		t.Parallel()
		if diff := cmp.Diff(want, newFixture(t, limit).send(small)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
	})
	t.Run("not announced", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, limit)
		if diff := cmp.Diff(want, f.do(post(io.MultiReader(strings.NewReader(small))))); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		f.nothingLeft()
	})
	t.Run("compressed", func(t *testing.T) {
		t.Parallel()
		r := post(strings.NewReader(small))
		r.Header.Set("Content-Encoding", "gzip")
		want := problemReply(http.StatusUnsupportedMediaType, "send the body without Content-Encoding")
		if diff := cmp.Diff(want, newFixture(t).do(r)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
	})
}

// TestSendCampaignLargeList takes a list that does not fit into the spool's memory.
func TestSendCampaignLargeList(t *testing.T) {
	t.Parallel()
	const entries = 30_000
	dir := t.TempDir()
	f := newFixture(t, func(cfg *facade.Config) { cfg.SpoolDir, cfg.JobSize = dir, 3000 })
	var body strings.Builder
	body.WriteString(`{"recipients":[`)
	for i := range entries {
		fmt.Fprintf(&body, `{"email":"somebody-%d@example.com","name":"Somebody"},`, i%(entries-7))
	}
	body.WriteString(`"invalid"],"subject":"Hi","body":"text"}`)
	if got := f.send(body.String()); got.Status != http.StatusAccepted {
		t.Fatalf("answer %d: %s", got.Status, got.Body)
	}
	record, err := f.store.Campaign(t.Context(), campaignKey)
	if err != nil {
		t.Fatal(err)
	}
	want := campaign.Totals{
		Recipients: entries - 7, Jobs: 10, Duplicates: 7, Invalid: 1, InvalidLines: []int{entries + 1},
		Dropped: []campaign.Dropped{{Reason: "Duplicate", Count: 7}, {Reason: "NoAt", Count: 1, Lines: []int{entries + 1}}},
	}
	for line := entries - 6; line <= entries; line++ {
		want.Dropped[0].Lines = append(want.Dropped[0].Lines, line)
	}
	if diff := cmp.Diff(want, record.Totals); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the spool's directory: %v, %v", left, err)
	}
}

func TestSendCampaignWithoutRoomForTheList(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *facade.Config) { cfg.SpoolDir = "/does/not/exist" })
	body := `{"subject":"Hi","body":"text","recipients":[` + strings.Repeat(`"somebody@example.com",`, 50_000) + `"x"]}`
	want := reply{
		http.StatusServiceUnavailable, headers("Retry-After", "5"),
		`{"ok":false,"error":"the server has no room for a list of this size: try again later"}`,
	}
	if diff := cmp.Diff(want, f.send(body)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	f.nothingLeft()
}
