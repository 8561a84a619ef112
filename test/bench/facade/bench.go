package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// endpoint is a call that is measured.
type endpoint struct {
	path string
	want int // the status of success
	// rate is how many times the peer's rate is meant, latency which share of its p99.
	rate, latency float64
}

var (
	sendAsync = endpoint{path: "/send_async", want: 202, rate: 5, latency: 0.2}
	send      = endpoint{path: "/send", want: 200, rate: 8, latency: 0.2}
	endpoints = []endpoint{sendAsync, send}
)

// mailText is what every request holds: a message of the usual size.
var mailText = `{"to": "ada.lovelace@shop.example", "subject": "Reset your password", "message_type": "password_reset", "body": ` +
	strconv.Quote("<!doctype html><html><body><h1>Hello, Ada</h1>"+
		strings.Repeat("<p>Somebody asked for a new password for your account. Was it you? Then follow the link.</p>", 8)+
		"</body></html>") + `}`

// request is the call with a body, ready for the wire.
func request(path, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: mail.example\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, apiKey, len(body), body)
}

// sample is what one measurement of an endpoint found.
type sample struct {
	// Rate is the highest that is sustained, in requests a second.
	Rate float64 `json:"rate"`
	// P50 and P99 are ms from the moment at which a request was due, at the peer's highest rate.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	// CPU is that of the service for 1,000 requests, All that of its database, queue and worker too, Sink the SMTP sink's,
	// Load that of who asks.
	CPU  float64 `json:"cpu"`
	All  float64 `json:"all"`
	Sink float64 `json:"sink"`
	Load float64 `json:"load"`
}

// bench is one run.
type bench struct {
	*measure.Workbench

	settings settings
	progress io.Writer
}

func newBench(ctx context.Context, s settings, progress io.Writer) (*bench, error) {
	stand, err := measure.OpenWorkbench(ctx, s.Flags, s.dir)
	if err != nil {
		return nil, err
	}
	return &bench{Workbench: stand, settings: s, progress: progress}, nil
}

// found are the samples of all rounds, by path and side.
type found map[string]*[sides][]sample

// measure has the sides take turns, and in who is first, the peer in the first round: its rate is what latencies are
// measured at.
func (b *bench) measure(ctx context.Context, chosen []endpoint) (found, error) {
	all := found{}
	begun := time.Now()
	pace := map[string]float64{}
	for round := range b.settings.Rounds {
		for _, e := range chosen {
			if all[e.path] == nil {
				all[e.path] = &[sides][]sample{}
			}
			order := []side{python, onSQLite, onMariaDB}
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, side := range order {
				s, err := b.one(ctx, e, side, pace)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", e.path, side, err)
				}
				all[e.path][side] = append(all[e.path][side], s)
				fmt.Fprintf(b.progress, "%4.0f s  round %d of %d: %-12s%-9s%6.0f/s;  at %.0f/s p50 %.1f ms, p99 %.1f ms;  %.2f s CPU per 1,000\n",
					time.Since(begun).Seconds(), round+1, b.settings.Rounds, e.path, side, s.Rate, pace[e.path], s.P50, s.P99, s.CPU)
			}
		}
	}
	return all, nil
}

// one measures an endpoint on a fresh service.
func (b *bench) one(ctx context.Context, e endpoint, of side, pace map[string]float64) (s sample, err error) {
	running, err := b.start(ctx, of)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, running.stop()) }()
	before, err := b.Sink.Mails()
	if err != nil {
		return s, err
	}
	behind := append([]int{running.pid}, running.behind...)
	own, everything, sunk, asked := measure.CPU(running.pid), measure.CPU(behind...), measure.CPU(b.Sink.PID()), measure.CPU(os.Getpid())

	l := load{address: running.address, request: request(e.path, mailText), want: e.want, conns: b.settings.conns}
	rate, answered, err := l.highest(ctx, b.settings.window)
	if err != nil {
		return s, err
	}
	if s.Rate = rate; of == python {
		pace[e.path] = rate
	}
	steady, err := l.at(ctx, pace[e.path], 2*b.settings.window)
	if err != nil {
		return s, err
	}
	if steady.answered == 0 {
		return s, fmt.Errorf("nothing was answered at %.0f requests a second: %w", pace[e.path], steady.failure)
	}
	s.P50, s.P99 = measure.Quantile(steady.latencies, 0.5), measure.Quantile(steady.latencies, 0.99)
	per := 1000 / float64(answered+steady.answered)
	s.CPU, s.All = (measure.CPU(running.pid)-own)*per, (measure.CPU(behind...)-everything)*per
	s.Sink, s.Load = (measure.CPU(b.Sink.PID())-sunk)*per, (measure.CPU(os.Getpid())-asked)*per

	after, err := b.Sink.Mails()
	if err == nil && e.path == send.path && after-before < answered+steady.answered {
		err = fmt.Errorf("%d mails were sent, they say, and the sink got %d", answered+steady.answered, after-before)
	}
	return s, err
}
