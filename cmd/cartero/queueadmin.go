package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// queuePatience bounds a whole command.
const queuePatience = time.Minute

const queueSummary = `cartero queue shows a Bull queue and steers it, whoever works on it:

  cartero queue status            how many jobs are in which state, and who works on them
  cartero queue job ID            all that Redis has of one job
  cartero queue logs ID           what its handler logged
  cartero queue pause             no worker takes a job any more; what runs is finished
  cartero queue resume            workers take jobs again
  cartero queue promote ID        a delayed job is ready to run now
  cartero queue retry ID          a failed job is ready to run again
  cartero queue retry --failed    every failed job is
  cartero queue remove ID         deletes a job that no worker holds

  --output text|json              how it is written (default: text)

A job of Cartero's is a bell: the work is in the database. Removing one stops nothing, as the outbox rings again for what
is due: to stop a campaign, set its spec.suspend. Retrying one mails nobody twice with Cartero's worker; a worker of
another kind may mail again whom it does not know as done.

E-mail addresses are masked. The exit code is 0, 1 if it was not done, 2 if the command line or a setting is wrong`

// queueCall is what the command line asks for.
type queueCall struct {
	action, id string
	json       bool
	failed     bool
	flags      []string // those of the settings
}

// queueAdmin does it.
type queueAdmin struct {
	queue  *bull.Queue
	name   string // as people know it: <prefix>:<queue>
	out    io.Writer
	json   bool
	redact func(string) string
}

type queueAction struct {
	needsID bool
	run     func(a queueAdmin, ctx context.Context, call queueCall) error
}

func queueActions() map[string]queueAction {
	return map[string]queueAction{
		"status":  {false, queueAdmin.status},
		"pause":   {false, queueAdmin.pause},
		"resume":  {false, queueAdmin.resume},
		"job":     {true, queueAdmin.job},
		"logs":    {true, queueAdmin.logs},
		"promote": {true, queueAdmin.promote},
		"retry":   {true, queueAdmin.retry},
		"remove":  {true, queueAdmin.remove},
	}
}

func runQueue(ctx context.Context, c cli) (err error) {
	call, wrong := parseQueueCall(c.args)
	var redis options.Redis
	queueOpt := options.Queue{BullOnly: true}
	err = options.Command{Name: "queue", Summary: queueSummary + ".", Areas: []options.Area{&redis, &queueOpt}}.
		Load(call.flags, c.env, c.stdout)
	if err = withProblems(err, wrong); err != nil {
		return err
	}
	redact := telemetry.NewRedactor(options.Secrets(&redis)...).Redact
	queue, closeQueue, err := openQueue(redis, queueOpt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeQueue()) }()

	ctx, cancel := context.WithTimeout(ctx, queuePatience)
	defer cancel()
	if err := queue.CheckDialect(ctx); err != nil {
		return errors.New(redact(err.Error()))
	}
	admin := queueAdmin{queue, queueOpt.Prefix + ":" + queueOpt.Name, c.stdout, call.json, redact}
	if err := queueActions()[call.action].run(admin, ctx, call); err != nil {
		return errors.New(redact(err.Error())) // it may quote an id, which anybody may have made of anything
	}
	return nil
}

// parseQueueCall takes from the command line what is no setting, and what is wrong with that.
func parseQueueCall(args []string) (call queueCall, wrong []options.SettingError) {
	words, output := call.split(args)
	if len(words) > 0 {
		call.action = words[0]
	}
	problem := func(what, message string) {
		wrong = append(wrong, options.SettingError{Variable: what, Message: message})
	}
	if call.json = output == "json"; !call.json && output != "text" {
		problem("--output", "must be text or json")
	}
	action, known := queueActions()[call.action]
	wants := 1
	if action.needsID && !call.failed {
		wants = 2
	}
	switch {
	case !known:
		problem("arguments", "say what to do: status, job ID, logs ID, pause, resume, promote ID, retry ID or --failed, or remove ID")
	case call.failed && call.action != "retry":
		problem("--failed", "is for retry only")
	case call.failed && len(words) > 1:
		problem("arguments", "give the id of one job, or --failed for all of them, not both")
	case len(words) < wants:
		problem("arguments", call.action+" needs the id of a job")
	case len(words) > wants:
		problem("arguments", "there are too many")
	case wants == 2:
		call.id = words[1]
	}
	return call, wrong
}

// split divides the command line into words, flags of this command, and flags of the settings, which all have a value.
func (call *queueCall) split(args []string) (words []string, output string) {
	output = "text"
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		flag, value, joined := strings.Cut(arg, "=")
		name := strings.TrimLeft(flag, "-")
		switch {
		case name == flag || name == "":
			words = append(words, arg)
		case name == "failed" && !joined:
			call.failed = true
		case joined, name == "h", name == "help", len(args) == 0:
			if name == "output" {
				output = value
				continue
			}
			call.flags = append(call.flags, arg)
		case name == "output":
			output, args = args[0], args[1:]
		default:
			call.flags = append(call.flags, "--"+name+"="+args[0])
			args = args[1:]
		}
	}
	return words, output
}

// withProblems adds to what is wrong with the settings. Somebody who asks for help gets that and nothing else.
func withProblems(err error, wrong []options.SettingError) error {
	invalid, ok := errors.AsType[*options.InvalidError](err)
	switch {
	case len(wrong) == 0, err != nil && !ok:
		return err
	case !ok:
		invalid = &options.InvalidError{Command: "queue"}
	}
	invalid.Problems = append(wrong, invalid.Problems...)
	return invalid
}

// explain turns why the queue left a job as it is into a sentence.
func (a queueAdmin) explain(err error, id string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bull.ErrJobMissing):
		return fmt.Errorf("queue %s has no job %s", a.name, id)
	case errors.Is(err, bull.ErrJobLocked):
		return fmt.Errorf("job %s is running: a worker holds it until it ends, or until its lock runs out", id)
	case errors.Is(err, bull.ErrNotFailed):
		return fmt.Errorf("job %s has not failed: only a failed job can be retried (cartero queue job %s shows its state)", id, id)
	case errors.Is(err, bull.ErrNotDelayed):
		return fmt.Errorf("job %s is not delayed: only a delayed job can be promoted (cartero queue job %s shows its state)", id, id)
	}
	return err
}

// done reports what was done: a sentence, or an object with these fields.
func (a queueAdmin) done(sentence string, object map[string]any) error {
	if a.json {
		return a.writeJSON(object)
	}
	_, err := fmt.Fprintln(a.out, a.redact(sentence))
	return err
}

func (a queueAdmin) pause(ctx context.Context, _ queueCall) error {
	if err := a.queue.Pause(ctx); err != nil {
		return err
	}
	return a.done("Queue "+a.name+" is paused: no worker takes a job until `cartero queue resume`.", map[string]any{"paused": true})
}

func (a queueAdmin) resume(ctx context.Context, _ queueCall) error {
	if err := a.queue.Resume(ctx); err != nil {
		return err
	}
	return a.done("Queue "+a.name+" is not paused: workers take its jobs.", map[string]any{"paused": false})
}

func (a queueAdmin) promote(ctx context.Context, call queueCall) error {
	if err := a.explain(a.queue.Promote(ctx, call.id), call.id); err != nil {
		return err
	}
	return a.done("Job "+call.id+" is ready to run.", map[string]any{"id": a.redact(call.id), "state": bull.StateWaiting})
}

func (a queueAdmin) remove(ctx context.Context, call queueCall) error {
	if err := a.explain(a.queue.Remove(ctx, call.id), call.id); err != nil {
		return err
	}
	return a.done("Job "+call.id+" is removed. If it is one of Cartero's, the outbox rings again for what is due of it.", map[string]any{"id": a.redact(call.id), "state": bull.StateAbsent})
}

func (a queueAdmin) retry(ctx context.Context, call queueCall) error {
	if !call.failed {
		if err := a.explain(a.queue.Retry(ctx, call.id), call.id); err != nil {
			return err
		}
		return a.done("Job "+call.id+" is ready to run.", map[string]any{"id": a.redact(call.id), "state": bull.StateWaiting})
	}
	n, err := a.queue.RetryFailed(ctx)
	if err != nil {
		return fmt.Errorf("%d jobs are ready to run, then: %w", n, err)
	}
	return a.done(fmt.Sprintf("%d failed jobs are ready to run.", n), map[string]any{"retried": n})
}
