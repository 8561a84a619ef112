package interop

import (
	"time"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

type object = map[string]any

// addCase is some jobs, as a Node program adds them to an empty queue and as we do.
type addCase struct {
	node []object // jobName, data and opts of Bull's add; data is {"jobUuid":"x"} unless told
	ours []bull.Job
	// bulk adds them in one call of addBulk and AddBulk.
	bulk bool
	// paused pauses the queue first.
	paused bool
	// meansTheSame are options for which we write another value; nil: which we leave out.
	meansTheSame object
	// notIn4_10 says why the state after the same calls of 4.10.4 is another.
	notIn4_10 string
}

const noDebounce = "4.10.4 has no debounce: it keeps the option, and adds the job again"

// opts are n jobs that have these options.
func opts(n int, opts object) []object {
	var all []object
	for range n {
		all = append(all, object{"opts": opts})
	}
	return all
}

// jobs are n times this job.
func jobs(n int, job bull.Job) []bull.Job {
	var all []bull.Job
	for range n {
		all = append(all, job)
	}
	return all
}

// priorities are a mixture in which every way to place a job occurs.
var priorities = []int{0, 5, 1, 5, 10, 0, 1}

// mixed are jobs of all kinds in a row.
func mixed() (node []object, ours []bull.Job) {
	for _, priority := range priorities {
		options := object{}
		if priority > 0 {
			options["priority"] = priority
		}
		node = append(node, object{"opts": options})
		ours = append(ours, bull.Job{Opts: bull.Opts{Priority: priority}})
	}
	node = append(node,
		object{"opts": object{"lifo": true}},
		object{"opts": object{"delay": 60000, "jobId": "late"}},
		object{"opts": object{"jobId": "mail-1"}},
		object{"opts": object{"jobId": "mail-1", "priority": 1}, "data": object{"dropped": true}},
		object{"opts": object{"jobId": "late"}},
		object{"jobName": "other", "opts": object{"lifo": true, "priority": 2}},
	)
	ours = append(ours,
		bull.Job{Opts: bull.Opts{LIFO: true}},
		bull.Job{ID: "late", Opts: bull.Opts{Delay: time.Minute}},
		bull.Job{ID: "mail-1"},
		bull.Job{ID: "mail-1", Data: []byte(`{"dropped":true}`), Opts: bull.Opts{Priority: 1}},
		bull.Job{ID: "late"},
		bull.Job{Name: "other", Opts: bull.Opts{LIFO: true, Priority: 2}},
	)
	return node, ours
}

// addCases are all kinds of add. Each is run by the real library and by us; what both leave behind is compared whole.
func addCases() map[string]addCase {
	cases := map[string]addCase{
		"plain": {node: opts(3, object{}), ours: jobs(3, bull.Job{})},
		"named": {
			node: []object{{"jobName": "other"}, {"jobName": "a name: ü"}},
			ours: []bull.Job{{Name: "other"}, {Name: "a name: ü"}},
		},
		"data": {
			node: []object{
				{"data": object{"text": "ä €😀 <b>&amp;\u2028\"\\/\n", "deep": []any{1, 2.5, true, nil, object{}}}},
				{"data": object{}},
				{"data": nil},
			},
			ours: []bull.Job{
				{Data: []byte(`{"text":"ä €😀 <b>&amp;\u2028\"\\/\n","deep":[1,2.5,true,null,{}]}`)},
				{Data: []byte(`{}`)},
				{Data: []byte(`{}`)},
			},
		},
		"custom id":  {node: opts(1, object{"jobId": "mail-1"}), ours: jobs(1, bull.Job{ID: "mail-1"})},
		"duplicates": {node: opts(3, object{"jobId": "mail-1"}), ours: jobs(3, bull.Job{ID: "mail-1"})},
		"custom id among numbers": {
			node: []object{{}, {"opts": object{"jobId": "mail-1"}}, {}},
			ours: []bull.Job{{}, {ID: "mail-1"}, {}},
		},
		"an empty id is none": {node: opts(2, object{"jobId": ""}), ours: jobs(2, bull.Job{}), meansTheSame: object{"jobId": nil}},
		"delayed":             {node: opts(3, object{"delay": 60000}), ours: jobs(3, bull.Job{Opts: bull.Opts{Delay: time.Minute}})},
		"delayed, custom id": {
			node: opts(2, object{"jobId": "mail-1", "delay": 1}),
			ours: jobs(2, bull.Job{ID: "mail-1", Opts: bull.Opts{Delay: time.Millisecond}}),
		},
		"delayed with priority and lifo": {
			node: opts(1, object{"delay": 500, "priority": 3, "lifo": true}),
			ours: jobs(1, bull.Job{Opts: bull.Opts{Delay: 500 * time.Millisecond, Priority: 3, LIFO: true}}),
		},
		"priority": {node: opts(2, object{"priority": 3}), ours: jobs(2, bull.Job{Opts: bull.Opts{Priority: 3}})},
		"a priority of 0 is none": {
			node: opts(1, object{"priority": 0}), ours: jobs(1, bull.Job{}), meansTheSame: object{"priority": nil},
		},
		"lifo":                 {node: append(opts(2, object{}), opts(2, object{"lifo": true})...), ours: append(jobs(2, bull.Job{}), jobs(2, bull.Job{Opts: bull.Opts{LIFO: true}})...)},
		"lifo: false":          {node: opts(1, object{"lifo": false}), ours: jobs(1, bull.Job{}), meansTheSame: object{"lifo": nil}},
		"attempts":             {node: opts(1, object{"attempts": 7}), ours: jobs(1, bull.Job{Opts: bull.Opts{Attempts: 7}})},
		"attempts as a text":   {node: opts(1, object{"attempts": "7"}), ours: jobs(1, bull.Job{Opts: bull.Opts{Attempts: 7}})},
		"timeout":              {node: opts(1, object{"timeout": 2500}), ours: jobs(1, bull.Job{Opts: bull.Opts{Timeout: 2500 * time.Millisecond}})},
		"stack trace limit":    {node: opts(1, object{"stackTraceLimit": 3}), ours: jobs(1, bull.Job{Opts: bull.Opts{StackTraceLimit: 3}})},
		"paused: nothing else": {paused: true},
		"paused: delayed": {
			paused: true, node: opts(2, object{"delay": 60000}), ours: jobs(2, bull.Job{Opts: bull.Opts{Delay: time.Minute}}),
		},
		"everything": {
			node: []object{{"jobName": "other", "opts": object{
				"jobId": "mail-1", "delay": 60000, "priority": 2, "lifo": true, "attempts": 3,
				"backoff": object{"type": "exponential", "delay": 250}, "timeout": 2500, "stackTraceLimit": 3,
				"removeOnComplete": object{"age": 60, "count": 2}, "removeOnFail": 5,
			}}},
			ours: []bull.Job{{ID: "mail-1", Name: "other", Opts: bull.Opts{
				Delay: time.Minute, Priority: 2, LIFO: true, Attempts: 3,
				Backoff: bull.Backoff{Type: bull.BackoffExponential, Delay: 250 * time.Millisecond},
				Timeout: 2500 * time.Millisecond, StackTraceLimit: 3,
				RemoveOnComplete: bull.KeepFor(time.Minute, 2), RemoveOnFail: bull.KeepNewest(5),
			}}},
		},
	}
	addDebounceCases(cases)
	addBackoffCases(cases)
	addKeepCases(cases)
	node, ours := mixed()
	cases["mixed"] = addCase{node: node, ours: ours}
	cases["mixed, bulk"] = addCase{node: node, ours: ours, bulk: true}
	cases["mixed, paused"] = addCase{node: node, ours: ours, paused: true}
	cases["mixed, bulk, paused"] = addCase{node: node, ours: ours, bulk: true, paused: true}
	return cases
}

func addDebounceCases(cases map[string]addCase) {
	debounced := func(options object, job bull.Job) addCase {
		return addCase{
			node: append(append(opts(2, options), opts(1, object{})...), opts(1, options)...),
			ours: append(append(jobs(2, job), bull.Job{}), job), notIn4_10: noDebounce,
		}
	}
	cases["debounce"] = debounced(object{"debounce": object{"id": "d: ü"}}, bull.Job{Opts: bull.Opts{Debounce: bull.Debounce{ID: "d: ü"}}})
	cases["debounce for a time"] = debounced(object{"debounce": object{"id": "d", "ttl": 600000}},
		bull.Job{Opts: bull.Opts{Debounce: bull.Debounce{ID: "d", TTL: 10 * time.Minute}}})
	cases["debounce, delayed"] = debounced(object{"delay": 60000, "debounce": object{"id": "d"}},
		bull.Job{Opts: bull.Opts{Delay: time.Minute, Debounce: bull.Debounce{ID: "d"}}})
	// A custom id that is known is dropped before the debounce id is looked at.
	cases["debounce, custom id"] = debounced(object{"jobId": "mail-1", "debounce": object{"id": "d"}},
		bull.Job{ID: "mail-1", Opts: bull.Opts{Debounce: bull.Debounce{ID: "d"}}})
}

func addBackoffCases(cases map[string]addCase) {
	tests := map[string]struct {
		node any
		ours bull.Backoff
	}{
		"fixed":       {object{"type": "fixed", "delay": 100}, bull.Backoff{Type: bull.BackoffFixed, Delay: 100 * time.Millisecond}},
		"exponential": {object{"type": "exponential", "delay": 1000}, bull.Backoff{Type: bull.BackoffExponential, Delay: time.Second}},
		"a number":    {500, bull.Backoff{Type: bull.BackoffFixed, Delay: 500 * time.Millisecond}},
		"no delay":    {object{"type": "fixed", "delay": 0}, bull.Backoff{Type: bull.BackoffFixed}},
	}
	for name, test := range tests {
		cases["backoff: "+name] = addCase{
			node: opts(1, object{"attempts": 5, "backoff": test.node}),
			ours: jobs(1, bull.Job{Opts: bull.Opts{Attempts: 5, Backoff: test.ours}}),
		}
	}
}

// addKeepCases are all forms of removeOnComplete and removeOnFail.
func addKeepCases(cases map[string]addCase) {
	tests := map[string]struct {
		node any
		ours bull.Keep
		same any // what we write instead
	}{
		"true":               {true, bull.KeepNone(), true},
		"0":                  {0, bull.KeepNone(), true},
		"false":              {false, bull.Keep{}, nil},
		"a number":           {7, bull.KeepNewest(7), 7},
		"count":              {object{"count": 7}, bull.KeepNewest(7), 7},
		"age":                {object{"age": 86400}, bull.KeepFor(24*time.Hour, 0), object{"age": 86400}},
		"half a second":      {object{"age": 0.5}, bull.KeepFor(500*time.Millisecond, 0), object{"age": 0.5}},
		"age and count":      {object{"age": 86400, "count": 1000}, bull.KeepFor(24*time.Hour, 1000), object{"age": 86400, "count": 1000}},
		"age and count of 0": {object{"age": 86400, "count": 0}, bull.KeepNone(), true},
	}
	for name, test := range tests {
		cases["remove: "+name] = addCase{
			node:         opts(1, object{"removeOnComplete": test.node, "removeOnFail": test.node}),
			ours:         jobs(1, bull.Job{Opts: bull.Opts{RemoveOnComplete: test.ours, RemoveOnFail: test.ours}}),
			meansTheSame: object{"removeOnComplete": test.same, "removeOnFail": test.same},
		}
	}
}
