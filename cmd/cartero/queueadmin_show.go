package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

func (a queueAdmin) writeJSON(value any) error {
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// row is one line of a table; one without a value is left out.
type row struct{ name, value string }

func (a queueAdmin) writeTable(rows []row) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		if r.value != "" {
			fmt.Fprintf(w, "%s\t%s\n", r.name, strings.Join(strings.Fields(r.value), " "))
		}
	}
	return w.Flush()
}

// queueStatus is what `cartero queue status --output json` writes.
type queueStatus struct {
	Queue     string `json:"queue"`
	Paused    bool   `json:"paused"`
	Waiting   int64  `json:"waiting"`
	Active    int64  `json:"active"`
	Delayed   int64  `json:"delayed"`
	Completed int64  `json:"completed"`
	Failed    int64  `json:"failed"`
	// Workers is null where the server does not list its clients.
	Workers *int `json:"workers"`
	// CompletedTotal and FailedTotal are counted by workers with metrics only.
	CompletedTotal  int64  `json:"completedTotal,omitempty"`
	FailedTotal     int64  `json:"failedTotal,omitempty"`
	MaxmemoryPolicy string `json:"maxmemoryPolicy,omitempty"`
	// Warning says that Redis may drop jobs.
	Warning string `json:"warning,omitempty"`
}

func (a queueAdmin) status(ctx context.Context, _ queueCall) error {
	s, err := a.readStatus(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return a.writeJSON(s)
	}
	workers, paused, policy := "unknown: this server does not list its clients", "no", s.MaxmemoryPolicy
	if s.Workers != nil {
		workers = strconv.Itoa(*s.Workers)
	}
	if s.Paused {
		paused = "yes: no worker takes a job until `cartero queue resume`"
	}
	if s.Warning != "" {
		policy += ": " + s.Warning
	}
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	rows := []row{
		{"queue", s.Queue},
		{"paused", paused},
		{"waiting", count(s.Waiting)},
		{"active", count(s.Active)},
		{"delayed", count(s.Delayed)},
		{"completed", count(s.Completed) + " kept"},
		{"failed", count(s.Failed) + " kept"},
		{"workers", workers},
		{"maxmemory-policy", policy},
	}
	if s.CompletedTotal+s.FailedTotal > 0 {
		rows = append(rows, row{"ever completed", count(s.CompletedTotal)}, row{"ever failed", count(s.FailedTotal)})
	}
	return a.writeTable(rows)
}

func (a queueAdmin) readStatus(ctx context.Context) (queueStatus, error) {
	s := queueStatus{Queue: a.name}
	counts, err := a.queue.Counts(ctx)
	if err != nil {
		return s, err
	}
	s.Waiting, s.Active, s.Delayed = counts.Waiting, counts.Active, counts.Delayed
	s.Completed, s.Failed = counts.Completed, counts.Failed
	if s.Paused, err = a.queue.IsPaused(ctx); err != nil {
		return s, err
	}
	workers, err := a.queue.Workers(ctx)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
	case err != nil:
		return s, err
	default:
		n := len(workers)
		s.Workers = &n
	}
	for state, total := range map[bull.State]*int64{bull.StateCompleted: &s.CompletedTotal, bull.StateFailed: &s.FailedTotal} {
		metrics, err := a.queue.Metrics(ctx, state)
		if err != nil {
			return s, err
		}
		*total = metrics.Count
	}
	if s.MaxmemoryPolicy, err = a.queue.EvictionPolicy(ctx); err != nil {
		return s, err
	}
	if s.MaxmemoryPolicy != "" && s.MaxmemoryPolicy != "noeviction" {
		s.Warning = "Redis may drop jobs and locks; set it to noeviction"
	}
	return s, nil
}

// jobReport is what `cartero queue job --output json` writes.
type jobReport struct {
	ID      string     `json:"id"`
	State   bull.State `json:"state"`
	Name    string     `json:"name"`
	JobUUID string     `json:"jobUuid,omitempty"`
	Options string     `json:"options,omitempty"`

	Added   *time.Time `json:"added,omitempty"`
	Due     *time.Time `json:"due,omitempty"`
	Started *time.Time `json:"started,omitempty"`
	Ended   *time.Time `json:"ended,omitempty"`
	Retried *time.Time `json:"retried,omitempty"`

	Priority     int    `json:"priority"`
	Attempts     int    `json:"attempts"`
	AttemptsMade int    `json:"attemptsMade"`
	Stalled      int    `json:"stalled"`
	LockedFor    string `json:"lockedFor,omitempty"`

	Progress     string `json:"progress,omitempty"`
	FailedReason string `json:"failedReason,omitempty"`
	ReturnValue  string `json:"returnValue,omitempty"`
	StackTraces  int    `json:"stackTraces"`
	LogRows      int64  `json:"logRows"`
}

// report leaves the data out but for the job's id: what else is in it may be anything.
func (a queueAdmin) report(info *bull.Info) jobReport {
	uuid, err := bull.JobUUID(info.Data)
	if err != nil {
		uuid = ""
	}
	r := jobReport{
		ID: a.redact(info.ID), State: info.State, Name: a.redact(info.Name), JobUUID: a.redact(uuid), Options: a.redact(string(info.Opts)),
		Added: moment(info.Timestamp), Due: moment(info.Due), Started: moment(info.ProcessedOn),
		Ended: moment(info.FinishedOn), Retried: moment(info.RetriedOn),
		Priority: info.Priority, Attempts: info.Attempts, AttemptsMade: info.AttemptsMade, Stalled: info.StalledCounter,
		Progress: a.redact(string(info.Progress)), FailedReason: a.redact(info.FailedReason),
		ReturnValue: a.redact(string(info.ReturnValue)), StackTraces: len(info.Stacktrace), LogRows: info.Logs,
	}
	if info.Lock > 0 {
		r.LockedFor = info.Lock.Round(time.Second).String()
	}
	return r
}

// moment is nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (a queueAdmin) job(ctx context.Context, call queueCall) error {
	info, err := a.queue.Job(ctx, call.id)
	if err != nil {
		return a.explain(err, call.id)
	}
	r := a.report(info)
	if a.json {
		return a.writeJSON(r)
	}
	return a.writeTable([]row{
		{"job", r.ID},
		{"state", stateText(r.State)},
		{"name", r.Name},
		{"jobUuid", r.JobUUID},
		{"options", r.Options},
		{"added", timeText(r.Added)},
		{"due", timeText(r.Due)},
		{"started", timeText(r.Started)},
		{"ended", timeText(r.Ended)},
		{"retried", timeText(r.Retried)},
		{"priority", unlessZero(r.Priority)},
		{"failed attempts", fmt.Sprintf("%d of %d", r.AttemptsMade, r.Attempts)},
		{"stalled", unlessZero(r.Stalled)},
		{"locked for", r.LockedFor},
		{"progress", r.Progress},
		{"failed reason", r.FailedReason},
		{"return value", r.ReturnValue},
		{"stack traces", unlessZero(r.StackTraces)},
		{"log rows", unlessZero(int(r.LogRows))},
	})
}

func stateText(state bull.State) string {
	if state == bull.StateStuck {
		return "stuck: no list has it, so no worker will ever take it, and its id can't be added; remove it"
	}
	return string(state)
}

func timeText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.RFC3339)
}

func unlessZero(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// logsShown bounds what one command reads.
const logsShown = 1000

func (a queueAdmin) logs(ctx context.Context, call queueCall) error {
	rows, count, err := a.queue.Logs(ctx, call.id, -logsShown, -1)
	if err != nil {
		return a.explain(err, call.id)
	}
	for i := range rows {
		rows[i] = a.redact(rows[i])
	}
	if a.json {
		return a.writeJSON(map[string]any{"id": a.redact(call.id), "rows": rows, "count": count})
	}
	if left := count - int64(len(rows)); left > 0 {
		fmt.Fprintf(a.out, "(%d earlier rows)\n", left)
	}
	for _, text := range rows {
		if _, err := fmt.Fprintln(a.out, text); err != nil {
			return err
		}
	}
	return nil
}
