package submit

import (
	"context"
	"sync"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// maxBatchBytes bounds the bodies of one transaction.
const maxBatchBytes = 8 << 20

// group makes batches of concurrent calls: while one batch is being written, the next gathers. A call on an idle group
// does not wait for company.
type group[R any] struct {
	max   int
	write func(mails []campaign.Submission, done func(i int, result R, err error))
	calls chan call[R]

	mu     sync.RWMutex // held for reading while a call is put in
	closed bool
	stop   chan struct{}
}

type call[R any] struct {
	ctx    context.Context //nolint:containedctx // of the caller that waits for it
	mail   campaign.Submission
	result chan result[R]
}

type result[R any] struct {
	value R
	err   error
}

func newGroup[R any](most int, write func([]campaign.Submission, func(int, R, error))) *group[R] {
	return &group[R]{max: most, write: write, calls: make(chan call[R], most), stop: make(chan struct{})}
}

// do waits for the mail's result. A caller that goes away before the mail is written leaves nothing behind; one that goes
// away later does not hear of it.
func (g *group[R]) do(ctx context.Context, mail campaign.Submission) (R, error) {
	var none R
	c := call[R]{ctx: ctx, mail: mail, result: make(chan result[R], 1)}
	if err := g.put(ctx, c); err != nil {
		return none, err
	}
	select {
	case r := <-c.result:
		return r.value, r.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

func (g *group[R]) put(ctx context.Context, c call[R]) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return ErrStopped
	}
	select {
	case g.calls <- c:
		return nil
	case <-g.stop:
		return ErrStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run writes batches until ctx ends. What nobody has begun to write then is refused.
func (g *group[R]) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case c := <-g.calls:
			g.batch(g.gather(c))
		}
	}
	close(g.stop)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for {
		select {
		case c := <-g.calls:
			c.result <- result[R]{err: ErrStopped}
		default:
			return
		}
	}
}

// gather takes what waits already.
func (g *group[R]) gather(first call[R]) []call[R] {
	batch := []call[R]{first}
	bytes := size(first.mail)
	for len(batch) < g.max && bytes < maxBatchBytes {
		select {
		case c := <-g.calls:
			batch, bytes = append(batch, c), bytes+size(c.mail)
		default:
			return batch
		}
	}
	return batch
}

func size(mail campaign.Submission) int { return len(mail.Content.HTML) + len(mail.Content.Text) }

func (g *group[R]) batch(calls []call[R]) {
	var taken []call[R]
	var mails []campaign.Submission
	for _, c := range calls {
		if err := c.ctx.Err(); err != nil {
			c.result <- result[R]{err: err}
			continue
		}
		taken, mails = append(taken, c), append(mails, c.mail)
	}
	if len(mails) == 0 {
		return
	}
	g.write(mails, func(i int, value R, err error) { taken[i].result <- result[R]{value, err} })
}
