package main

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/google/go-cmp/cmp"
)

// base is where the keys of the tests' queue are.
const base = "bull:email-queue:"

// queueWorld is a Redis with a job in most states.
func queueWorld(t *testing.T) *miniredis.Miniredis {
	t.Helper()
	m := miniredis.RunT(t)
	hash := func(id string, more ...string) {
		m.HSet(base+id, "name", "__default__", "data", fmt.Sprintf(`{"jobUuid":"uuid-%s","to":"bob@example.com"}`, id),
			"opts", `{"attempts":1}`, "timestamp", "1767323045000", "delay", "0", "priority", "0")
		m.HSet(base+id, append(more, "deid", "")...)
		m.HDel(base+id, "deid")
	}
	push := func(list, id string) {
		if _, err := m.Lpush(base+list, id); err != nil {
			t.Fatal(err)
		}
	}
	score := func(set, id string, score float64) {
		if _, err := m.ZAdd(base+set, score, id); err != nil {
			t.Fatal(err)
		}
	}
	hash("w")
	push("wait", "w")
	hash("a", "processedOn", "1767323046000", "stalledCounter", "1", "progress", `{"sent":3}`)
	push("active", "a")
	if err := m.Set(base+"a:lock", "token"); err != nil {
		t.Fatal(err)
	}
	hash("d", "priority", "4", "delay", "60000")
	score("delayed", "d", (1767323045000+60000)*4096)
	for i, id := range []string{"f", "f2"} {
		hash(id, "failedReason", "550 <bob@example.com>:\nno such user", "attemptsMade", "1", "stacktrace", `["a","b"]`,
			"processedOn", "1767323046000", "finishedOn", "1767323047000")
		score("failed", id, 1767323047000+float64(i))
	}
	for _, text := range []string{"to bob@example.com", "sent"} {
		if _, err := m.RPush(base+"f:logs", text); err != nil {
			t.Fatal(err)
		}
	}
	hash("lost")
	return m
}

// queueCommand runs `cartero queue …`; env is the environment.
func queueCommand(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), cli{
		args: append([]string{"queue"}, args...), stdout: &out, stderr: &errs,
		env: func(name string) (string, bool) { value, ok := env[name]; return value, ok },
	})
	return code, out.String(), errs.String()
}

func TestQueueShows(t *testing.T) {
	t.Parallel()
	m := queueWorld(t)
	before := m.Dump()
	env := map[string]string{"REDIS_URL": "redis://" + m.Addr()}
	lines := func(rows ...string) string { return strings.Join(rows, "\n") + "\n" }
	for line, want := range map[string]string{
		"status": lines("queue      bull:email-queue", "paused     no", "waiting    1", "active     1", "delayed    1",
			"completed  0 kept", "failed     2 kept", "workers    unknown: this server does not list its clients"),
		"status --output=json": `{
  "queue": "bull:email-queue",
  "paused": false,
  "waiting": 1,
  "active": 1,
  "delayed": 1,
  "completed": 0,
  "failed": 2,
  "workers": null
}
`,
		"job a": lines("job              a", "state            active", "name             __default__", "jobUuid          uuid-a",
			`options          {"attempts":1}`, "added            2026-01-02T03:04:05Z", "started          2026-01-02T03:04:06Z",
			"failed attempts  0 of 1", "stalled          1", `progress         {"sent":3}`),
		"job --queue-name-email email-queue d": lines("job              d", "state            delayed", "name             __default__",
			"jobUuid          uuid-d", `options          {"attempts":1}`, "added            2026-01-02T03:04:05Z",
			"due              2026-01-02T03:05:05Z", "priority         4", "failed attempts  0 of 1"),
		"job f": lines("job              f", "state            failed", "name             __default__", "jobUuid          uuid-f",
			`options          {"attempts":1}`, "added            2026-01-02T03:04:05Z", "started          2026-01-02T03:04:06Z",
			"ended            2026-01-02T03:04:07Z", "failed attempts  1 of 1", "failed reason    550 <[address]>: no such user",
			"stack traces     2", "log rows         2"),
		"job lost": lines("job              lost",
			"state            stuck: no list has it, so no worker will ever take it, and its id can't be added; remove it",
			"name             __default__", "jobUuid          uuid-lost", `options          {"attempts":1}`,
			"added            2026-01-02T03:04:05Z", "failed attempts  0 of 1"),
		"--output json job f": `{
  "id": "f",
  "state": "failed",
  "name": "__default__",
  "jobUuid": "uuid-f",
  "options": "{\"attempts\":1}",
  "added": "2026-01-02T03:04:05Z",
  "started": "2026-01-02T03:04:06Z",
  "ended": "2026-01-02T03:04:07Z",
  "priority": 0,
  "attempts": 1,
  "attemptsMade": 1,
  "stalled": 0,
  "failedReason": "550 <[address]>:\nno such user",
  "stackTraces": 2,
  "logRows": 2
}
`,
		"logs f":               lines("to [address]", "sent"),
		"logs w":               "",
		"logs f --output json": "{\n  \"count\": 2,\n  \"id\": \"f\",\n  \"rows\": [\n    \"to [address]\",\n    \"sent\"\n  ]\n}\n",
	} {
		code, out, errs := queueCommand(t, env, strings.Fields(line)...)
		if diff := cmp.Diff(want, out); diff != "" || code != exitOK || errs != "" {
			t.Errorf("%s: code %d, stderr %q, stdout (-want +got):\n%s", line, code, errs, diff)
		}
	}
	if after := m.Dump(); after != before {
		t.Errorf("looking has changed Redis:\n%s", cmp.Diff(before, after))
	}
}

// TestQueueSteers: each action once, and what then is in which list.
func TestQueueSteers(t *testing.T) {
	t.Parallel()
	start := map[string]string{"wait": "w", "active": "a", "delayed": "d", "failed": "f f2"}
	for line, test := range map[string]struct {
		out     string
		changed map[string]string
	}{
		"pause":                  {"Queue bull:email-queue is paused: no worker takes a job until `cartero queue resume`.\n", map[string]string{"wait": "", "paused": "w"}},
		"resume":                 {"Queue bull:email-queue is not paused: workers take its jobs.\n", nil},
		"pause --output json":    {"{\n  \"paused\": true\n}\n", map[string]string{"wait": "", "paused": "w"}},
		"promote d":              {"Job d is ready to run.\n", map[string]string{"wait": "w d", "delayed": ""}},
		"retry f":                {"Job f is ready to run.\n", map[string]string{"wait": "f w", "failed": "f2"}},
		"retry --failed":         {"2 failed jobs are ready to run.\n", map[string]string{"wait": "f2 f w", "failed": ""}},
		"retry f2 --output json": {"{\n  \"id\": \"f2\",\n  \"state\": \"waiting\"\n}\n", map[string]string{"wait": "f2 w", "failed": "f"}},
		"remove w":               {"Job w is removed. If it is one of Cartero's, the outbox rings again for what is due of it.\n", map[string]string{"wait": ""}},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			m := queueWorld(t)
			code, out, errs := queueCommand(t, map[string]string{"REDIS_URL": "redis://" + m.Addr()}, strings.Fields(line)...)
			if diff := cmp.Diff(test.out, out); diff != "" || code != exitOK || errs != "" {
				t.Errorf("code %d, stderr %q, stdout (-want +got):\n%s", code, errs, diff)
			}
			want := maps.Clone(start)
			maps.Copy(want, test.changed)
			maps.DeleteFunc(want, func(_, ids string) bool { return ids == "" })
			if diff := cmp.Diff(want, places(m)); diff != "" {
				t.Errorf("lists (-want +got):\n%s", diff)
			}
		})
	}
}

// places tells which ids are in which list or set.
func places(m *miniredis.Miniredis) map[string]string {
	all := map[string]string{}
	for _, name := range []string{"wait", "paused", "active", "delayed", "completed", "failed"} {
		ids, err := m.List(base + name)
		if err != nil {
			ids, err = m.ZMembers(base + name)
		}
		if err == nil {
			all[name] = strings.Join(ids, " ")
		}
	}
	return all
}

// TestQueueRefuses: what is not done changes nothing, and the exit code tells whose fault it is.
func TestQueueRefuses(t *testing.T) {
	t.Parallel()
	m := queueWorld(t)
	before := m.Dump()
	here := map[string]string{"REDIS_URL": "redis://" + m.Addr()}
	away := map[string]string{"REDIS_URL": "redis://user:geheim@127.0.0.1:1"}
	for line, test := range map[string]struct {
		env  map[string]string
		code int
		want string
	}{
		"job nobody":            {here, exitFailed, "queue bull:email-queue has no job nobody"},
		"job bob@example.com":   {here, exitFailed, "has no job [address]"},
		"logs nobody":           {here, exitFailed, "has no job nobody"},
		"remove nobody":         {here, exitFailed, "has no job nobody"},
		"remove wait":           {here, exitFailed, "has no job wait"},
		"remove a":              {here, exitFailed, "job a is running"},
		"retry a":               {here, exitFailed, "job a is running"},
		"retry w":               {here, exitFailed, "job w has not failed"},
		"promote w":             {here, exitFailed, "job w is not delayed"},
		"status":                {away, exitFailed, "connect"},
		"":                      {here, exitUsage, "arguments: say what to do"},
		"empty":                 {here, exitUsage, "arguments: say what to do"},
		"job":                   {here, exitUsage, "arguments: job needs the id of a job"},
		"status w":              {here, exitUsage, "arguments: there are too many"},
		"retry":                 {here, exitUsage, "arguments: retry needs the id of a job"},
		"retry f --failed":      {here, exitUsage, "not both"},
		"remove --failed":       {here, exitUsage, "--failed: is for retry only"},
		"status --output yaml":  {here, exitUsage, "--output: must be text or json"},
		"status --outpt json":   {here, exitUsage, "--outpt: there is no such flag"},
		"pause --output":        {here, exitUsage, "--output: must be text or json"},
		"pause --redis-url":     {here, exitUsage, "--redis-url: the flag needs a value"},
		"resume":                {nil, exitUsage, "REDIS_URL: is required"},
		"job --redis-url=x":     {here, exitUsage, "REDIS_URL: must be"},
		"pause --bull-prefix a": {map[string]string{"REDIS_URL": here["REDIS_URL"], "QUEUE_DIALECT": "bullmq"}, exitUsage, "QUEUE_DIALECT: must be bull"},
	} {
		code, out, errs := queueCommand(t, test.env, strings.Fields(line)...)
		if code != test.code || out != "" || !strings.Contains(errs, test.want) || strings.Contains(errs, "geheim") {
			t.Errorf("%q: code %d, stdout %q, stderr %q; want code %d and %q", line, code, out, errs, test.code, test.want)
		}
	}
	if after := m.Dump(); after != before {
		t.Errorf("a refusal has changed Redis:\n%s", cmp.Diff(before, after))
	}

	m.HSet(base+"meta", "version", "bullmq:5.81.5")
	if code, _, errs := queueCommand(t, here, "resume"); code != exitFailed || !strings.Contains(errs, "belongs to BullMQ") {
		t.Errorf("a queue of BullMQ's: code %d, %q", code, errs)
	}
}

// TestQueueHelp: it needs no settings, and says what is dangerous.
func TestQueueHelp(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"--help", "-h", "remove --help", "retry x --help"} {
		code, out, errs := queueCommand(t, nil, strings.Fields(line)...)
		if code != exitOK || errs != "" || !strings.Contains(out, "cartero queue retry --failed") || !strings.Contains(out, "spec.suspend") {
			t.Errorf("%s: code %d, stderr %q, stdout %q", line, code, errs, out)
		}
	}
}

// TestQueueStatusWarns of a Redis that may drop jobs; and it shows the totals that workers with metrics keep.
func TestQueueStatusWarns(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	if err := m.Server().Register("CONFIG", func(peer *server.Peer, _ string, _ []string) {
		peer.WriteStrings([]string{"maxmemory-policy", "allkeys-lru"})
	}); err != nil {
		t.Fatal(err)
	}
	m.HSet(base+"metrics:completed", "count", "12")
	code, out, errs := queueCommand(t, map[string]string{"REDIS_URL": "redis://" + m.Addr()}, "status")
	for _, want := range []string{
		"maxmemory-policy  allkeys-lru: Redis may drop jobs and locks; set it to noeviction\n", "ever completed    12\n",
	} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("code %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
}
