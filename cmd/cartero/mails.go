package main

import (
	"context"
	"slices"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail/domains"
	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/submit"
	"github.com/cartero-mail/cartero/internal/telemetry"
	"github.com/cartero-mail/cartero/internal/worker"
)

// sendRetry is the schedule of a mail whose caller waits for it: three attempts within submit.DefaultPatience.
var sendRetry = worker.RetryPolicy{
	MaxAttempts: 3, InitialBackoff: 2 * time.Second, MaxBackoff: 8 * time.Second, MaxAge: time.Minute, GreylistDelay: time.Second,
}

// mails takes single mails: those to be sent at once, if there is a relay, and those for the queue.
type mails struct {
	service *submit.Service
	engine  *engine // nil without a relay
}

func (p *process) newMails(
	s engineSettings, db *store.Store, queue outbox.Queue, metrics *telemetry.WorkerMetrics,
) (m *mails, err error) {
	m = &mails{}
	cfg := submit.Config{Store: db, Queue: queue, Now: db.Now, Logger: p.logger}
	if s.smtp.Server != "" {
		if m.engine, err = p.newEngine(s, sendRetry, db, metrics); err != nil {
			return nil, err
		}
		cfg.Sender, cfg.Waits = m.engine.worker, mayWait(s.smtp, m.engine.pacer != nil)
	}
	m.service, err = submit.New(cfg)
	return m, err
}

// mayWait tells which mails may have to wait for their turn: all if there is a pace, else those to domains with a limit.
func mayWait(o options.SMTP, paced bool) func(campaign.Submission) bool {
	match := domains.NewMatcher(o.Domains).Match
	return func(mail campaign.Submission) bool {
		return paced || slices.ContainsFunc(mail.Recipients, func(r campaign.Recipient) bool { return match(r.Address) >= 0 })
	}
}

// run takes mails until ctx ends; ready is called when it does.
func (m *mails) run(ctx context.Context, ready func()) error {
	do := func() error {
		ready()
		return m.service.Run(ctx)
	}
	if m.engine == nil {
		return do()
	}
	return m.engine.run(ctx, do)
}
