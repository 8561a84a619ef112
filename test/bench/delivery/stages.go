package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail/compose"
	"github.com/cartero-mail/cartero/internal/recipients"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/test/bench/measure"
)

// stagesChild is a process that makes the stages of a campaign, one after another.
const stagesChild = "stages"

// stage is one of them: all mails of a campaign through it, and nothing else.
type stage struct {
	Name string `json:"name"`
	// Rate is recipients a second.
	Rate float64 `json:"rate"`
	// CPU is processor time by process, in ms for 1,000 recipients.
	CPU map[string]float64 `json:"cpu"`
}

// stageOrder is what the process is asked.
type stageOrder struct {
	order

	Database string `json:"database"`
	// PIDs are those of the other processes, by name.
	PIDs map[string]int `json:"pids"`
}

// measureStages has a process make all stages on a database of its own.
func measureStages(ctx context.Context, b *bench) (_ sample, err error) {
	s, err := b.newSystem(ctx)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := b.Sink.Expect(0, b.settings.mails, 0); err != nil {
		return sample{}, err
	}
	child, err := measure.StartSelf(stagesChild)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, child.Close()) }()
	var result sample
	if err := child.Ask(stageOrder{
		order:    order{clientPool, b.Sink.Address, b.settings.conns, b.settings.mails, b.settings.size},
		Database: s.url,
		PIDs:     map[string]int{cpuMariaDB: b.Servers.DatabasePID, cpuSink: b.Sink.PID()},
	}, &result); err != nil {
		return sample{}, err
	}
	ledger, err := b.Sink.Report()
	if err != nil {
		return sample{}, err
	}
	return result, ledger.Check()
}

// inParallel is how many jobs a worker works off at once, by default.
const inParallel = 4

// The sizes of the sets that a worker claims, announced at once, and records, where nothing paces it and the relay is fast.
const (
	claimed  = 400
	recorded = 200
)

// stages is the state of the process.
type stages struct {
	stageOrder

	db      *store.Store
	content campaign.Content
	list    string
	jobs    []string
	claims  []claimedSet
	result  []stage
}

// claimedSet are recipients of one claim.
type claimedSet struct {
	token, job string
	ids        []string
}

func serveStages(ctx context.Context, in io.Reader, out io.Writer) error {
	return measure.Answer(in, out, func(o stageOrder) (_ any, err error) {
		s := &stages{stageOrder: o}
		if s.content, err = content(o.Size); err != nil {
			return nil, err
		}
		if s.db, err = store.Open(ctx, o.Database); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.db.Close()) }()
		var list strings.Builder
		list.WriteString("email,name\r\n")
		for i := range o.Mails {
			list.WriteString(address(i) + ",Ada Reader\r\n")
		}
		s.list = list.String()
		for _, one := range []struct {
			name string
			pass func(context.Context) error
		}{
			{"parse", s.parse},
			{"insert", s.insert},
			{"claim", s.claim},
			{"render", s.render},
			{"send", s.send},
			{"result", s.record},
		} {
			if err := s.time(ctx, one.name, one.pass); err != nil {
				return nil, fmt.Errorf("%s: %w", one.name, err)
			}
		}
		return sample{Stages: s.result}, nil
	})
}

// time makes a stage and notes what it took.
func (s *stages) time(ctx context.Context, name string, pass func(context.Context) error) error {
	used := func() map[string]float64 {
		all := map[string]float64{cpuClient: measure.CPU(os.Getpid())}
		for name, pid := range s.PIDs {
			all[name] = measure.CPU(pid)
		}
		return all
	}
	before, begin := used(), time.Now()
	if err := pass(ctx); err != nil {
		return err
	}
	one := stage{Name: name, Rate: float64(s.Mails) / time.Since(begin).Seconds(), CPU: map[string]float64{}}
	for name, now := range used() {
		one.CPU[name] = (now - before[name]) * 1e6 / float64(s.Mails)
	}
	s.result = append(s.result, one)
	return nil
}

// parse reads the list, checks its addresses, and drops nobody.
func (s *stages) parse(ctx context.Context) error {
	list := recipients.New(strings.NewReader(s.list), recipients.CSV)
	for {
		if _, err := list.Next(ctx); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	if n := list.Summary().Accepted; n != int64(s.Mails) {
		return fmt.Errorf("%d of %d were accepted", n, s.Mails)
	}
	return nil
}

// insert writes recipients that have been read, and seals the campaign.
func (s *stages) insert(ctx context.Context) error {
	draft := campaign.Draft{
		Key: campaignKey, Origin: campaign.OriginKubernetes, ListHash: "bench", Content: s.content,
		JobSize: campaign.DefaultJobSize, CreatedAt: time.Now(),
	}
	_, err := campaign.NewLoader(s.db, nil).Load(ctx, draft, &people{end: s.Mails})
	if err != nil {
		return err
	}
	for shard := range (s.Mails + draft.JobSize - 1) / draft.JobSize {
		s.jobs = append(s.jobs, campaign.JobID(campaignKey, shard))
	}
	return nil
}

// claim leases and announces all recipients, in sets.
func (s *stages) claim(ctx context.Context) error {
	sets := make([][]claimedSet, len(s.jobs))
	err := share(inParallel, len(s.jobs), func(next func() (int, bool)) error {
		for i, ok := next(); ok; i, ok = next() {
			for {
				now := time.Now()
				set := claimedSet{token: uuid.NewString(), job: s.jobs[i]}
				got, err := s.db.Claim(ctx, campaign.Claim{
					JobID: set.job, Token: set.token, Limit: claimed, Now: now, LeaseUntil: now.Add(time.Hour), Announce: true,
				})
				if err != nil {
					return err
				}
				if len(got) == 0 {
					break
				}
				for _, one := range got {
					set.ids = append(set.ids, one.ID)
				}
				sets[i] = append(sets[i], set)
			}
		}
		return nil
	})
	all := 0
	for _, some := range sets {
		s.claims = append(s.claims, some...)
		for _, set := range some {
			all += len(set.ids)
		}
	}
	if err == nil && all != s.Mails {
		err = fmt.Errorf("%d of %d were claimed", all, s.Mails)
	}
	return err
}

// eachClaim has as many claims at once as a worker has jobs, in pieces of a size.
func (s *stages) eachClaim(size int, do func(claimedSet) error) error {
	return share(inParallel, len(s.claims), func(next func() (int, bool)) error {
		for i, ok := next(); ok; i, ok = next() {
			set := s.claims[i]
			for at := 0; at < len(set.ids); at += size {
				part := claimedSet{set.token, set.job, set.ids[at:min(at+size, len(set.ids))]}
				if err := do(part); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// render composes all mails, one after another, on one core.
func (s *stages) render(context.Context) error {
	template, err := compose.NewTemplate(s.content.Mail())
	if err != nil {
		return err
	}
	to := recipient(0)
	var buffer []byte
	for i := range s.Mails {
		to.Address = s.address(i)
		m, err := template.Append(buffer[:0], to)
		if err != nil {
			return err
		}
		buffer = m.Raw
	}
	return nil
}

// address takes the i-th address from the list, which costs nothing.
func (s *stages) address(i int) string {
	const head = len("email,name\r\n")
	width := (len(s.list) - head) / s.Mails
	return s.list[head+i*width:][:width-len(",Ada Reader\r\n")]
}

// send sends a mail that is at hand to all.
func (s *stages) send(ctx context.Context) error {
	raw, err := composed(s.content, 0)
	if err != nil {
		return err
	}
	return sendPooled(ctx, s.order, raw)
}

// record writes that all were accepted, and finishes their jobs.
func (s *stages) record(ctx context.Context) error {
	err := s.eachClaim(recorded, func(set claimedSet) error {
		results, now := make([]campaign.Result, len(set.ids)), time.Now()
		for i, id := range set.ids {
			results[i] = campaign.Result{RecipientID: id, State: campaign.StateAccepted, CountAttempt: true, Code: 250, EnhancedCode: "2.0.0", At: now}
		}
		n, err := s.db.Record(ctx, set.token, results)
		if err == nil && n != len(results) {
			err = fmt.Errorf("%d of %d results were written", n, len(results))
		}
		return err
	})
	if err != nil {
		return err
	}
	return share(inParallel, len(s.jobs), func(next func() (int, bool)) error {
		for i, ok := next(); ok; i, ok = next() {
			if _, err := s.db.FinishJob(ctx, s.jobs[i], time.Now()); err != nil {
				return err
			}
		}
		return nil
	})
}
