package interop

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/devstack"
	"github.com/cartero-mail/cartero/internal/queue/bull"
)

var update = flag.Bool("update", false, "write testdata/golden anew, with what the real Bull does")

// start is where clocks stand still: 2026-01-02 03:04:05 UTC.
const start = int64(1767323045000)

func standstill(c *bull.Config) {
	c.Now = func() time.Time { return time.UnixMilli(start) }
}

// outcome is all that adding jobs to an empty queue brings about.
type outcome struct {
	// IDs are what the calls returned.
	IDs []string `json:"ids"`
	// Keys are all keys; data and opts are decoded.
	Keys object `json:"keys"`
	// Events are what was published, in order: "channel payload". A token is written as "token".
	Events []string `json:"events"`
}

// golden is the file of one version of Bull.
type golden struct {
	Bull  string             `json:"bull"`
	Cases map[string]outcome `json:"cases"`
}

var releases = map[string]release{"4.16.5": {"4.16.5", "bull", false}, "4.10.4": {"4.10.4", "bull-4.10", true}}

func goldenFile(r release) string {
	return filepath.Join("testdata", "golden", "bull-"+r.version+".json")
}

func readGolden(t *testing.T, r release) golden {
	t.Helper()
	text, err := os.ReadFile(goldenFile(r))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatalf("%s: %v", goldenFile(r), err)
	}
	return g
}

// TestGoldenIsWhatBullWrites holds the files against the real library.
func TestGoldenIsWhatBullWrites(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, r release) {
		f.ask("clock", object{"now": start}, nil)
		got := golden{Bull: r.version, Cases: map[string]outcome{}}
		for name, c := range addCases() {
			got.Cases[name] = c.byNode(f.openBeside(asItIs))
		}
		if *update {
			writeGolden(f.T, r, got)
		}
		if diff := cmp.Diff(readGolden(f.T, r), got); diff != "" {
			f.Errorf("Bull %s does not write what %s says (-file +Bull); -update writes it:\n%s", r.version, goldenFile(r), diff)
		}
	})
}

func writeGolden(t *testing.T, r release, g golden) {
	t.Helper()
	text, err := json.MarshalIndent(g, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(goldenFile(r), append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWeWriteWhatBullWrites holds our producer against the files, on the embedded Redis: this needs nothing installed.
func TestWeWriteWhatBullWrites(t *testing.T) {
	t.Parallel()
	url, stop, err := devstack.StartRedis(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	compareWithGolden(t, func(t *testing.T) *fixture {
		t.Helper()
		return openFixtureAt(t, url, standstill)
	})
}

func TestWeWriteWhatBullWritesOnRedis(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs a Redis server")
	}
	compareWithGolden(t, func(t *testing.T) *fixture {
		t.Helper()
		return openDesk(t, setup{config: standstill})
	})
}

func compareWithGolden(t *testing.T, open func(*testing.T) *fixture) {
	t.Helper()
	cases, files := addCases(), map[string]golden{}
	for version, r := range releases {
		files[version] = readGolden(t, r)
		if diff := cmp.Diff(slices.Sorted(maps.Keys(cases)), slices.Sorted(maps.Keys(files[version].Cases))); diff != "" {
			t.Errorf("%s does not have the cases of this test (-test +file):\n%s", goldenFile(r), diff)
		}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := c.byUs(open(t))
			for version, r := range releases {
				want, got := c.wanted(files[version].Cases[name]), got.asSeenBy(r)
				diff := cmp.Diff(want, got)
				switch {
				case r.old && c.notIn4_10 != "":
					if diff == "" {
						t.Errorf("we do as Bull %s does, although %s", version, c.notIn4_10)
					}
				case diff != "":
					t.Errorf("Bull %s (-Bull +ours):\n%s", version, diff)
				}
			}
		})
	}
}

// asSeenBy leaves out what the release does not publish.
func (o outcome) asSeenBy(r release) outcome {
	if !r.old {
		return o
	}
	o.Events = slices.DeleteFunc(slices.Clone(o.Events), func(event string) bool { return strings.HasPrefix(event, "duplicated@") })
	return o
}

// wanted is what we are to leave behind where Bull leaves this.
func (c addCase) wanted(o outcome) outcome {
	for _, value := range o.Keys {
		job, _ := value.(object)
		opts, ok := job["opts"].(object)
		if !ok {
			continue
		}
		for option, same := range c.meansTheSame {
			delete(opts, option)
			if same != nil {
				opts[option] = decoded(same)
			}
		}
	}
	return o
}

func (c addCase) byNode(f *fixture) outcome {
	f.Helper()
	end := f.overhear()
	if c.paused {
		f.ask("pause", nil, nil)
	}
	ids, bulk := []string{}, []object{}
	for _, job := range c.node {
		data, ok := job["data"]
		if !ok {
			data = object{"jobUuid": "x"}
		}
		options := object{}
		if given, ok := job["opts"].(object); ok {
			options = given
		}
		if c.bulk {
			bulk = append(bulk, object{"name": job["jobName"], "data": data, "opts": options})
			continue
		}
		var added struct{ ID string }
		f.ask("add", object{"jobName": job["jobName"], "data": data, "opts": options}, &added)
		ids = append(ids, added.ID)
	}
	if c.bulk {
		f.ask("addBulk", object{"jobs": bulk}, &ids)
	}
	return outcome{IDs: ids, Keys: f.goldenKeys(), Events: end()}
}

func (c addCase) byUs(f *fixture) outcome {
	f.Helper()
	end := f.overhear()
	if c.paused {
		if err := f.queue.Pause(f.Context()); err != nil {
			f.Fatal(err)
		}
	}
	jobs := slices.Clone(c.ours)
	for i := range jobs {
		if jobs[i].Data == nil {
			jobs[i].Data = []byte(`{"jobUuid":"x"}`)
		}
	}
	ids, known := []string{}, map[string]bool{}
	for batch := range slices.Chunk(jobs, map[bool]int{true: max(len(jobs), 1), false: 1}[c.bulk]) {
		added, err := f.queue.AddBulk(f.Context(), batch)
		if err != nil {
			f.Fatal(err)
		}
		for _, a := range added {
			if a.Created == known[a.ID] {
				f.Errorf("job %s: Created is %v", a.ID, a.Created)
			}
			known[a.ID] = true
			ids = append(ids, a.ID)
		}
	}
	return outcome{IDs: ids, Keys: f.goldenKeys(), Events: end()}
}

// goldenKeys is all keys as a file keeps them.
func (f *fixture) goldenKeys() object {
	f.Helper()
	all := object{}
	for name, value := range f.raw() {
		hash, ok := value.(map[string]string)
		if !ok {
			all[name] = decoded(value)
			if ttl := f.redis.PTTL(f.Context(), f.key(name)).Val(); ttl > 0 {
				all[name] = object{"value": value, "expires": true}
			}
			continue
		}
		fields := object{}
		for field, text := range hash {
			fields[field] = text
			if field == "data" || field == "opts" {
				fields[field] = decoded(json.RawMessage(text))
			}
		}
		all[name] = fields
	}
	return all
}

// decoded is a value as it comes out of JSON.
func decoded(value any) any {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprintf("not JSON: %v", err)
	}
	var out any
	if err := json.Unmarshal(text, &out); err != nil {
		return fmt.Sprintf("not JSON: %v", err)
	}
	return out
}

// overhear listens to all that is published about the queue until end is called, which returns it.
func (f *fixture) overhear() (end func() []string) {
	f.Helper()
	ctx := context.Background()
	pubsub := f.redis.PSubscribe(ctx, f.key("*"))
	f.Cleanup(func() { _ = pubsub.Close() })
	if _, err := pubsub.Receive(ctx); err != nil {
		f.Fatal(err)
	}
	last := f.key("end " + uuid.NewString())
	return func() []string {
		f.Helper()
		if err := f.redis.Publish(ctx, last, "").Err(); err != nil {
			f.Fatal(err)
		}
		events := []string{}
		for message := range pubsub.Channel() {
			if message.Channel == last {
				break
			}
			channel, token, found := strings.Cut(strings.TrimPrefix(message.Channel, f.key("")), "@")
			if found && token != "" {
				channel += "@token"
			} else if found {
				channel += "@"
			}
			events = append(events, channel+" "+message.Payload)
		}
		return events
	}
}
