package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/cartero-mail/cartero/internal/campaign"
)

const (
	// loaded is the length of the list in tests of the loader: seven jobs, the last of one recipient.
	loaded     = 13
	loadedJobs = 7
)

// list yields the recipients of a list of loaded.
type list struct{ at int }

func (l *list) Next(context.Context) (campaign.Recipient, error) {
	if l.at == loaded {
		return campaign.Recipient{}, io.EOF
	}
	l.at++
	return campaign.Recipient{Address: fmt.Sprintf("ada%d@example.com", l.at), Variables: map[string]string{"n": fmt.Sprint(l.at)}}, nil
}

func (l *list) Totals() campaign.Totals { return campaign.Totals{Duplicates: 2} }

var errCrash = errors.New("crashed")

// crashing is a ledger whose process ends with its n-th writing call, after that was carried out or before.
type crashing struct {
	campaign.Ledger

	calls atomic.Int64
	n     int64
	after bool
}

func (c *crashing) do(call func() error) error {
	switch at := c.calls.Add(1); {
	case at > c.n, at == c.n && !c.after:
		return errCrash
	case at == c.n:
		return errors.Join(call(), errCrash)
	default:
		return call()
	}
}

func (c *crashing) WriteShard(ctx context.Context, shard campaign.Shard) error {
	return c.do(func() error { return c.Ledger.WriteShard(ctx, shard) })
}

// loadAgain is what the next process does. It returns all recipients of the campaign, job by job.
func (s *scene) loadAgain() [][]row {
	s.Helper()
	record, err := campaign.NewLoader(s.Store, nil).Load(s.ctx(), draft(), &list{})
	s.must(err)
	want := campaign.Totals{Recipients: loaded, Jobs: loadedJobs, Duplicates: 2, InvalidLines: []int{}, Dropped: []campaign.Dropped{}}
	s.equal("totals", record.Totals, want)
	s.equal("jobs", s.count("SELECT COUNT(*) FROM `EmailJob`"), loadedJobs)
	s.equal("recipients", s.count("SELECT COUNT(*) FROM `Recipient`"), loaded)
	all := [][]row{}
	for shard := range loadedJobs {
		all = append(all, s.rows(campaign.JobID(key, shard)))
	}
	return all
}

// cutShort has the process that loads end with each of its shards in turn, in the middle of others, before the shard was
// committed and after: whoever loads next completes it.
func cutShort(s *scene) {
	var want [][]row
	for shard := range loadedJobs {
		var rows []row
		for i := shard*2 + 1; i <= min(shard*2+2, loaded); i++ {
			rows = append(rows, row{
				Email: fmt.Sprintf("ada%d@example.com", i), Status: "PENDING", State: "pending", Attempts: "0", Variables: fmt.Sprintf(`{"n":"%d"}`, i),
			})
		}
		want = append(want, rows)
	}
	for n := range int64(loadedJobs) {
		for _, after := range []bool{false, true} {
			ledger := &crashing{Ledger: s.Store, n: n + 1, after: after}
			if _, err := campaign.NewLoader(ledger, nil).Load(s.ctx(), draft(), &list{}); !errors.Is(err, errCrash) {
				s.Fatalf("crash %d: %v", n, err)
			}
			record, err := s.Campaign(s.ctx(), key)
			s.must(err)
			s.equal("sealed", record.Sealed(), false)
			if n%2 == 0 { // every other time the next process is cut short as well
				ledger := &crashing{Ledger: s.Store, n: loadedJobs - n, after: after}
				_, err := campaign.NewLoader(ledger, nil).Load(s.ctx(), draft(), &list{})
				if !errors.Is(err, errCrash) {
					s.Fatalf("second crash %d: %v", n, err)
				}
			}
			s.equal(fmt.Sprintf("after crash %d", n), s.loadAgain(), want)
			s.exec("DELETE FROM `Recipient`")
			s.exec("DELETE FROM `EmailJob`")
			s.exec("DELETE FROM `Campaign`")
		}
	}
}

// loadTogether has processes load the same list at once.
func loadTogether(s *scene) {
	together(4, func(int) {
		record, err := campaign.NewLoader(s.Store, nil).Load(s.ctx(), draft(), &list{})
		s.noError(err)
		if !record.Sealed() || record.Totals.Recipients != loaded {
			s.Errorf("record %+v", record)
		}
	})
	s.loadAgain()
}
