package outbox_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/outbox"
)

var now = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// memory is a store and a queue that record what is done to them.
type memory struct {
	due       []campaign.DueJob
	inQueue   map[string]bool
	ringErr   error
	markErr   error
	rung      []outbox.Ring
	marked    []campaign.DueJob
	postponed []campaign.DueJob
	asked     []string
	unrung    []string
	forgotten []campaign.DueJob
	windows   []int
}

func (m *memory) RungJobs(_ context.Context, _, after string, limit int) ([]campaign.DueJob, error) {
	var jobs []campaign.DueJob
	for _, job := range m.due {
		if job.Rings > 0 && job.ID > after && len(jobs) < limit {
			jobs = append(jobs, job)
		}
	}
	return jobs, nil
}

func (m *memory) ForgetRings(_ context.Context, jobs []campaign.DueJob) error {
	m.forgotten = append(m.forgotten, jobs...)
	return nil
}

func (m *memory) Unring(_ context.Context, bullIDs []string) error {
	m.unrung = append(m.unrung, bullIDs...)
	return nil
}

func (m *memory) DueJobs(_ context.Context, _ string, _, _ time.Time, limit int) ([]campaign.DueJob, error) {
	batch := m.due[:min(limit, len(m.due))]
	m.due = m.due[len(batch):]
	return batch, nil
}

func (m *memory) FirstDueJobs(ctx context.Context, key string, now, rungBefore time.Time, window, limit int) ([]campaign.DueJob, error) {
	m.windows = append(m.windows, window)
	return m.DueJobs(ctx, key, now, rungBefore, min(window, limit))
}

func (m *memory) MarkRung(_ context.Context, jobs []campaign.DueJob, _ time.Time) error {
	m.marked = append(m.marked, jobs...)
	return m.markErr
}

func (m *memory) PostponeRing(_ context.Context, jobs []campaign.DueJob, _ time.Time) error {
	m.postponed = append(m.postponed, jobs...)
	return nil
}

func (m *memory) Ring(_ context.Context, rings []outbox.Ring) error {
	if m.ringErr != nil {
		return m.ringErr
	}
	m.rung = append(m.rung, rings...)
	return nil
}

func (m *memory) Waiting(_ context.Context, ids []string) (map[string]bool, error) {
	m.asked = append(m.asked, ids...)
	return m.inQueue, nil
}

func newOutbox(t *testing.T, m *memory) *outbox.Outbox {
	t.Helper()
	o, err := outbox.New(outbox.Config{Store: m, Queue: m, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestRingCampaign(t *testing.T) {
	t.Parallel()
	outage := errors.New("connection refused")
	first, lost, waits := campaign.DueJob{ID: "a"}, campaign.DueJob{ID: "b", Rings: 2}, campaign.DueJob{ID: "c", Rings: 1}
	for _, tc := range []struct {
		name    string
		memory  memory
		want    memory
		wantErr error
	}{
		{
			name:   "a new job gets its own id, and nothing is asked of the queue",
			memory: memory{due: []campaign.DueJob{first}},
			want:   memory{rung: []outbox.Ring{{BullID: "a", JobID: "a"}}, marked: []campaign.DueJob{first}},
		},
		{
			name:   "a job whose ring was lost is rung under a new id",
			memory: memory{due: []campaign.DueJob{lost}},
			want: memory{
				rung: []outbox.Ring{{BullID: "b-r2", JobID: "b"}}, marked: []campaign.DueJob{lost},
				asked: []string{"b-r1"},
			},
		},
		{
			name:   "a job that still waits in the queue is left alone",
			memory: memory{due: []campaign.DueJob{waits}, inQueue: map[string]bool{"c": true}},
			want:   memory{postponed: []campaign.DueJob{waits}, asked: []string{"c"}},
		},
		{
			name:    "what the queue did not take is not remembered as rung",
			memory:  memory{due: []campaign.DueJob{first}, ringErr: outage},
			wantErr: outage,
		},
		{
			name:    "a crash before remembering leaves a ring that is repeated under the same id",
			memory:  memory{due: []campaign.DueJob{first}, markErr: outage},
			want:    memory{rung: []outbox.Ring{{BullID: "a", JobID: "a"}}, marked: []campaign.DueJob{first}},
			wantErr: outage,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := tc.memory
			err := newOutbox(t, &m).RingCampaign(t.Context(), "growth/launch")
			if !errors.Is(err, tc.wantErr) {
				t.Errorf("error %v, want %v", err, tc.wantErr)
			}
			m.due, m.inQueue, m.ringErr, m.markErr = nil, nil, nil, nil
			if diff := cmp.Diff(tc.want, m, cmp.AllowUnexported(memory{}), cmpEmpty); diff != "" {
				t.Error(diff)
			}
		})
	}
}

var cmpEmpty = cmp.FilterValues(func(a, b []campaign.DueJob) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())

func TestRingCampaignWorksInBatches(t *testing.T) {
	t.Parallel()
	m := &memory{}
	for shard := range 1201 {
		m.due = append(m.due, campaign.DueJob{ID: campaign.JobID("growth/launch", shard)})
	}
	if err := newOutbox(t, m).RingCampaign(t.Context(), "growth/launch"); err != nil {
		t.Fatal(err)
	}
	if len(m.rung) != 1201 || len(m.marked) != 1201 {
		t.Errorf("rung %d and remembered %d of 1201 jobs", len(m.rung), len(m.marked))
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := outbox.New(outbox.Config{}); err == nil || err.Error() != "outbox: Store and Queue are required" {
		t.Errorf("got %v", err)
	}
}

// TestUnringCampaign: the jobs that were rung leave the queue by their latest id, and may be rung again at once.
func TestUnringCampaign(t *testing.T) {
	t.Parallel()
	m := memory{due: []campaign.DueJob{{ID: "a"}, {ID: "b", Rings: 1}, {ID: "c", Rings: 3}}}
	o, err := outbox.New(outbox.Config{Store: &m, Queue: &m})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.UnringCampaign(t.Context(), "growth/autumn"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b", "c-r2"}, m.unrung); diff != "" {
		t.Errorf("Taken out of the queue (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]campaign.DueJob{{ID: "b", Rings: 1}, {ID: "c", Rings: 3}}, m.forgotten); diff != "" {
		t.Errorf("Forgotten rings (-want +got):\n%s", diff)
	}
}
