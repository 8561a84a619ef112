package store

import (
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// TestClock is what the clock shows of the database's time after a look at it, as the machine's clocks go on.
func TestClock(t *testing.T) {
	t.Parallel()
	const ms, minute = time.Millisecond, time.Minute
	type look struct {
		wall, elapsed time.Duration // the machine's clocks when the answer comes, from the start
		took          time.Duration // from the question to the answer
		database      time.Duration // what it says, from the start
	}
	for name, test := range map[string]struct {
		looks         []look
		wall, elapsed time.Duration // the machine's clocks in the end
		want, ahead   time.Duration
	}{
		"nobody has looked":                    {wall: 5 * minute, elapsed: 5 * minute, want: 5 * minute},
		"the machine is right":                 {looks: []look{{database: 0}}, wall: minute, elapsed: minute, want: minute + ms/2, ahead: ms / 2},
		"the machine is behind":                {looks: []look{{database: 9 * minute}}, wall: minute, elapsed: minute, want: 10*minute + ms/2, ahead: 9*minute + ms/2},
		"the machine is ahead":                 {looks: []look{{database: -9 * minute}}, wall: minute, elapsed: minute, want: -8*minute + ms/2, ahead: -9*minute + ms/2},
		"its wall clock is put back":           {looks: []look{{database: 0}}, wall: -9 * minute, elapsed: minute, want: minute + ms/2, ahead: 10*minute + ms/2},
		"it is suspended":                      {looks: []look{{database: 0}}, wall: 9 * minute, elapsed: minute, want: 9*minute + ms/2, ahead: ms / 2},
		"its wall clock is put forward":        {looks: []look{{database: 0}}, wall: 9 * minute, elapsed: minute, want: 9*minute + ms/2, ahead: ms / 2},
		"and a look finds that":                {looks: []look{{database: 0}, {wall: 9 * minute, elapsed: minute, database: minute}}, wall: 9 * minute, elapsed: minute, want: minute + ms, ahead: -8*minute + ms},
		"an answer takes its time":             {looks: []look{{took: 10 * ms}}, want: 5*ms + ms/2, ahead: 5*ms + ms/2},
		"a slow answer does no harm":           {looks: []look{{}, {wall: minute, elapsed: minute, took: 999 * ms, database: minute - 500*ms}}, wall: minute, elapsed: minute, want: minute + ms/2, ahead: ms / 2},
		"but where it tells that we are ahead": {looks: []look{{}, {wall: minute, elapsed: minute, took: 99 * ms, database: minute - 500*ms}}, wall: minute, elapsed: minute, want: minute - 400*ms, ahead: -400 * ms},
		"or behind":                            {looks: []look{{}, {wall: minute, elapsed: minute, took: 99 * ms, database: minute + 500*ms}}, wall: minute, elapsed: minute, want: minute + 500*ms, ahead: 500 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
			c := newClock(func() time.Time { return start.Add(test.wall) })
			c.read = func() reading { return reading{start.Add(test.wall), test.elapsed} }
			for _, l := range test.looks {
				after := reading{start.Add(l.wall), l.elapsed}
				c.look(reading{start.Add(l.wall - l.took), l.elapsed - l.took}, start.Add(l.database), after)
			}
			if got := c.now().Sub(start); got != test.want {
				t.Errorf("it shows %s from the start, want %s", got, test.want)
			}
			if got := c.ahead(); got != test.ahead {
				t.Errorf("it is %s ahead of the wall, want %s", got, test.ahead)
			}
		})
	}
}

// TestLeasesGoByTheDatabaseTime: machines whose clocks are wrong by ten minutes, each in its way, neither end each other's leases nor
// take those of the dead for good.
func TestLeasesGoByTheDatabaseTime(t *testing.T) {
	t.Parallel()
	const wrong = 10 * time.Minute
	for name, test := range map[string]struct{ taker, rescuer time.Duration }{
		"the taker's is ahead":            {taker: wrong},
		"the taker's is behind":           {taker: -wrong},
		"the rescuer's is ahead":          {rescuer: wrong},
		"the rescuer's is behind":         {rescuer: -wrong},
		"each is wrong in another way":    {taker: -wrong, rescuer: wrong},
		"each is wrong in the other ways": {taker: wrong, rescuer: -wrong},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := emptyMySQL(t)
			machine := func(ahead time.Duration) *Store {
				return openAt(t, url, func() time.Time { return time.Now().Add(ahead) })
			}
			taker, rescuer := machine(test.taker), machine(test.rescuer)
			if err := taker.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			submit := func(key string, lease time.Duration) {
				t.Helper()
				now, err := taker.Time(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				mail := campaign.Submission{
					Key: key, CreatedAt: now, Content: campaign.Content{Subject: "Hi", Text: "Hello"},
					Recipients: []campaign.Recipient{{Address: "ada@example.com"}},
				}
				_, err = taker.Submit(t.Context(), []campaign.Submission{mail}, &campaign.Lease{Token: key, Until: now.Add(lease)}, now)
				if err != nil {
					t.Fatal(err)
				}
			}
			submit("http/living", time.Minute)
			submit("http/dead", -time.Minute)
			now, err := rescuer.Time(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			rescued, err := rescuer.Rescue(t.Context(), now)
			if err != nil || rescued.InDoubt != 1 || rescued.Released != 0 {
				t.Errorf("rescued %+v, %v; want the dead one's recipient, in doubt", rescued, err)
			}
			ended, err := taker.RenewLeases(t.Context(), []string{"http/living", "http/dead"}, now.Add(time.Hour))
			if err != nil || len(ended) != 1 || ended[0] != "http/dead" {
				t.Errorf("ended are %q, %v; want the dead one's alone", ended, err)
			}
		})
	}
}
