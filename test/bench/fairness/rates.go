package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/store"
)

// ratedJobs is the number of jobs of a campaign under a limit, so that each worker takes several.
const ratedJobs = 6

// limit bounds what two workers send together.
type limit struct {
	what   string
	env    []string // of the workers
	policy campaign.Policy
}

// limits are those that a worker knows, each of so many mails a minute.
func limits(rate int) []limit {
	return []limit{
		{what: "the account's, `SMTP_SEND_INTERVAL`", env: []string{"SMTP_SEND_INTERVAL=" + (time.Minute / time.Duration(rate)).String()}},
		{what: "the campaign's, `throttle`", policy: campaign.Policy{Rate: campaign.Rate{Messages: rate, Period: time.Minute, Burst: 1}}},
		{what: "the domains', `SMTP_DOMAIN_LIMITS`", env: []string{fmt.Sprintf("SMTP_DOMAIN_LIMITS=*=%d/1m", rate)}},
	}
}

// rates reports how much of what each limit allows is sent.
func (b *bench) rates(ctx context.Context, out io.Writer) (err error) {
	if b.settings.rated == 0 {
		return nil
	}
	db, err := store.Open(ctx, b.settings.database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "Two workers under a limit of %d mails a minute, a campaign of %d\n\n"+
		"| limit | sent of what it allows |\n|---|---|\n", b.settings.rate, b.settings.rated)
	for i, limit := range limits(b.settings.rate) {
		_, _ = fmt.Fprintf(b.progress, "bench: two workers under a limit: %s\n", limit.what)
		share, err := b.share(ctx, db, i, limit)
		if err != nil {
			return fmt.Errorf("under the limit %s: %w", limit.what, err)
		}
		_, _ = fmt.Fprintf(out, "| %s | %.1f %% |\n", limit.what, 100*share)
	}
	_, _ = fmt.Fprintln(out)
	return nil
}

// share returns how many mails came in the time from the first to the last, as a share of what the limit allows.
func (b *bench) share(ctx context.Context, db *store.Store, number int, of limit) (share float64, err error) {
	people := make([]campaign.Recipient, b.settings.rated)
	came := make([]<-chan time.Time, len(people))
	for i := range people {
		people[i].Address = fmt.Sprintf("reader%d@limited%d.example", i, number)
		came[i] = b.sink.await(people[i].Address)
	}
	if err := write(ctx, db, fmt.Sprintf("bench/limited%d", number), of.policy, people); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	for worker := range 2 {
		name := fmt.Sprintf("worker-%d-%d", number, worker)
		if err := b.start(ctx, "worker", name, append(of.env, "SWEEP_INTERVAL=1s")...); err != nil {
			return 0, err
		}
	}
	times := make([]time.Time, len(came))
	for i := range came {
		select {
		case times[i] = <-came[i]:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(patience):
			return 0, errors.New("a mail doesn't come")
		}
	}
	took := slices.MaxFunc(times, time.Time.Compare).Sub(slices.MinFunc(times, time.Time.Compare))
	return float64(len(times)-1) / took.Minutes() / float64(b.settings.rate), nil
}

// write puts a campaign into the database, from where the workers' outbox rings its jobs.
func write(ctx context.Context, db *store.Store, key string, policy campaign.Policy, people []campaign.Recipient) error {
	now := db.Now()
	jobSize := max(len(people)/ratedJobs, 1)
	_, err := db.Open(ctx, campaign.Draft{
		Key: key, Origin: campaign.OriginKubernetes, ListHash: key, JobSize: jobSize, CreatedAt: now,
		Control: campaign.Control{Policy: policy}, Content: campaign.Content{Subject: "News", Text: "There is news."},
	})
	if err != nil {
		return err
	}
	jobs := 0
	for some := range slices.Chunk(people, jobSize) {
		if err := db.WriteShard(ctx, campaign.Shard{Key: key, Number: jobs, Recipients: some}); err != nil {
			return err
		}
		jobs++
	}
	_, err = db.Seal(ctx, key, campaign.Totals{Recipients: int64(len(people)), Jobs: jobs}, now)
	return err
}
