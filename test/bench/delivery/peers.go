package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/cartero-mail/cartero/test/bench/measure"
	"github.com/cartero-mail/cartero/test/nodejs"
)

// nodeWorker is one of the Node programs of test/interop.
type nodeWorker struct {
	script string
	// jobSize is how many recipients each of its jobs has.
	jobSize func(mails int) int
}

var (
	usualWorker = nodeWorker{"swap/worker.js", func(mails int) int { return mails }} // one job for the campaign
	tunedWorker = nodeWorker{"bench/worker.js", func(mails int) int { return max(1, min(250, mails/8)) }}
)

// runNode measures a Node worker that waits for a campaign.
func runNode(n nodeWorker) func(context.Context, *bench, load) (sample, error) {
	return func(ctx context.Context, b *bench, l load) (_ sample, err error) {
		s, err := b.newSystem(ctx)
		if err != nil {
			return sample{}, err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		child, err := b.startNode(n, s)
		if err != nil {
			return sample{}, err
		}
		defer child.Kill()
		return b.endToEnd(ctx, s, l, n.jobSize(l.mails), child.PID())
	}
}

// prepare has whatever the steps need installed, before anything is measured.
func (b *bench) prepare(ctx context.Context, steps []step) (err error) {
	for _, s := range steps {
		switch {
		case (s.side == nodeUsual || s.side == nodeTuned) && b.node == "":
			fmt.Fprintln(b.progress, "installing npm packages, unless they are there …")
			if b.node, err = nodejs.Install(); err == nil {
				err = nodejs.GeneratePrisma(b.node) //nolint:contextcheck // made for all processes, whoever of them is first
			}
		case s.side == smtpSource && b.source == "":
			b.source, err = findSource(ctx, b.Dir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) startNode(n nodeWorker, s *system) (*measure.Child, error) {
	host, port, err := net.SplitHostPort(b.Sink.Address)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("node", n.script)
	cmd.Dir = b.node
	child, err := measure.StartChild("the Node worker", cmd, "NODE_ENV=production",
		"DATABASE_URL="+s.url, "REDIS_URL="+b.Servers.RedisURL, "BULL_PREFIX="+s.prefix, "QUEUE_NAME_EMAIL="+queueName,
		"BULL_SETTINGS={}", "SMTP_SERVER="+host, "SMTP_PORT="+port, "SMTP_FROM="+from,
		"SMTP_CONNECTIONS="+strconv.Itoa(b.settings.conns))
	if err != nil {
		return nil, err
	}
	if err := child.Await(nil); err != nil { // it is ready
		child.Kill()
		return nil, err
	}
	return child, nil
}

// runSource measures Postfix's load generator, which holds no rows and no queue: it only sends.
func runSource(ctx context.Context, b *bench, l load) (sample, error) {
	// It numbers its recipients from 1 with -N, and keeps connections with -d. Its mails have a header of some 200 octets
	// beyond -l, and it has no pipelining to switch on.
	if err := b.Sink.Expect(1, l.mails, l.roundTrip); err != nil {
		return sample{}, err
	}
	cmd := exec.CommandContext(ctx, b.source, "-d", "-N", "-s", strconv.Itoa(b.settings.conns), "-m", strconv.Itoa(l.mails),
		"-l", strconv.Itoa(b.settings.size-sourceHeader), "-M", "bench.example", "-f", from, "-t", "reader@readers.example", b.Sink.Address)
	cmd.Env = append(os.Environ(), sourceLibraries(b.source)...)
	w := b.watch()
	output, err := cmd.CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("smtp-source: %w\n%s", err, output)
	}
	result, err := w.end(l.mails)
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	result.CPU[cpuClient] = float64(used) / float64(time.Millisecond) * 1000 / float64(l.mails)
	return result, err
}
