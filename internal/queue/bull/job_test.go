package bull

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// TestOptsAreNeverNull: Bull's finishing script aborts half-way on a null removeOnComplete or removeOnFail.
func TestOptsAreNeverNull(t *testing.T) {
	t.Parallel()
	keeps := []Keep{{}, KeepNone(), KeepNewest(0), KeepNewest(3), KeepFor(time.Hour, 0), KeepFor(time.Hour, 5), KeepFor(0, 0)}
	for _, complete := range keeps {
		for _, fail := range keeps {
			text, err := Job{ID: "a", Opts: Opts{RemoveOnComplete: complete, RemoveOnFail: fail}}.encodeOpts(1)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text, "null") {
				t.Errorf("opts %s", text)
			}
		}
	}
}

func TestKeepRoundTrip(t *testing.T) {
	t.Parallel()
	for _, keep := range []Keep{{}, KeepNone(), KeepNewest(7), KeepFor(time.Hour, 0), KeepFor(time.Hour, 5)} {
		text, err := keep.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var got Keep
		if err := got.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(keep, got, cmp.AllowUnexported(Keep{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestParseOpts(t *testing.T) {
	t.Parallel()
	tests := map[string]receivedOpts{
		``:     {attempts: 1},
		`null`: {attempts: 1},
		`{}`:   {attempts: 1},
		`[]`:   {attempts: 1},
		`{"attempts":3,"lifo":true,"timeout":250,"stackTraceLimit":2}`: {attempts: 3, lifo: true, timeout: 250 * time.Millisecond, stackTraceLimit: 2},
		`{"attempts":"4"}`:                                   {attempts: 4},
		`{"attempts":null}`:                                  {},
		`{"attempts":2,"timeout":-1}`:                        {attempts: 2},
		`{"backoff":250}`:                                    {attempts: 1, backoff: Backoff{BackoffFixed, 250 * time.Millisecond}},
		`{"backoff":{"type":"mine","delay":"10"}}`:           {attempts: 1, backoff: Backoff{"mine", 10 * time.Millisecond}},
		`{"backoff":{"type":"fixed","delay":-5}}`:            {attempts: 1, backoff: Backoff{BackoffFixed, 0}},
		`{"backoff":"soon"}`:                                 {attempts: 1, backoff: Backoff{Type: backoffUnknown}},
		`{"removeOnComplete":{"age":5},"removeOnFail":true}`: {attempts: 1, removeOnComplete: KeepFor(5*time.Second, 0), removeOnFail: KeepNone()},
	}
	for text, want := range tests {
		if diff := cmp.Diff(want, parseOpts(text), cmp.AllowUnexported(receivedOpts{}, Keep{})); diff != "" {
			t.Errorf("parseOpts(%s) (-want +got):\n%s", text, diff)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	tests := []struct {
		backoff Backoff
		want    []time.Duration // after the 1st, 2nd, 3rd and 4th failed attempt
	}{
		{Backoff{}, []time.Duration{0, 0, 0, 0}},
		{Backoff{BackoffFixed, time.Second}, []time.Duration{time.Second, time.Second, time.Second, time.Second}},
		{
			Backoff{BackoffExponential, 100 * time.Millisecond},
			[]time.Duration{100 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond, 1500 * time.Millisecond},
		},
		{Backoff{BackoffFixed, noRetry}, nil},
		{Backoff{"mine", time.Minute}, nil},
		{Backoff{backoffUnknown, time.Minute}, nil},
	}
	for _, test := range tests {
		var got []time.Duration
		for made := 1; made <= 4; made++ {
			if wait, again := test.backoff.after(made); again {
				got = append(got, wait)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.backoff, diff)
		}
	}
	if got, _ := (Backoff{BackoffExponential, time.Hour}).after(2000); got != 366*24*time.Hour {
		t.Errorf("an endless backoff is %s, want a year", got)
	}
}

func TestJobUUID(t *testing.T) {
	t.Parallel()
	data, err := encodeRing("7d444840-9dc0-11d1-b245-5ffdce74fad2")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(data); got != `{"jobUuid":"7d444840-9dc0-11d1-b245-5ffdce74fad2"}` {
		t.Errorf("data = %s", got)
	}
	if got, err := JobUUID(data); err != nil || got != "7d444840-9dc0-11d1-b245-5ffdce74fad2" {
		t.Errorf("JobUUID = %q, %v", got, err)
	}
	for _, text := range []string{"", "null", "{}", "[]", `{"jobUuid":7}`, `{"jobUuid":""}`, "text"} {
		if got, err := JobUUID([]byte(text)); err == nil {
			t.Errorf("JobUUID(%s) = %q", text, got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _ = client.Close() })
	for name, config := range map[string]Config{
		"a queue with an @":        {Queue: "a@b"},
		"a queue with a colon":     {Queue: "a:b"},
		"a queue with a star":      {Queue: "a*"},
		"a prefix with a space":    {Prefix: "a b"},
		"no lock":                  {LockDuration: time.Microsecond},
		"renewal after the lock":   {LockDuration: time.Second, LockRenewTime: time.Second},
		"no guard":                 {GuardInterval: -1},
		"a pop that does not wait": {DrainDelay: -1},
		"a tiny stalled interval":  {StalledInterval: 1},
	} {
		if _, err := New(client, config); err == nil {
			t.Errorf("New accepted %s", name)
		}
	}
	if _, err := New(nil, Config{}); err == nil {
		t.Error("New accepted no client")
	}
	queue, err := New(client, Config{Prefix: "{bull}"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := queue.keys.lock("a"), "{bull}:email-queue:a:lock"; got != want {
		t.Errorf("lock key %q, want %q", got, want)
	}
	if got, want := queue.keys.clientName(), "{bull}:ZW1haWwtcXVldWU="; got != want {
		t.Errorf("client name %q, want %q", got, want)
	}
}
