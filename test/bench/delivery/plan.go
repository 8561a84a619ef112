package main

import (
	"context"
	"math"
	"time"
)

// side is whose program sends.
type side struct {
	name, title string
	// trips are the round trips that a mail takes on a connection at least, conns how many connections; 0 for all.
	trips float64
	// overlaps: what of these the client sends ahead is its own business, so that they are an estimate and no limit.
	overlaps bool
	conns    int
	// rate is about what it reaches without a round trip: how many mails it gets follows from that.
	rate float64
	// endToEnd sides begin with rows in the database and end with rows.
	endToEnd bool
	run      func(context.Context, *bench, load) (sample, error)
}

// The sides, in the order of a round.
var (
	control    = &side{name: "control", title: "control: a bare pipelining client", trips: 1, rate: 40_000, run: runClient(clientRaw)}
	sender     = &side{name: "sender", title: "Cartero's SMTP sender alone", trips: 1, rate: 20_000, run: runClient(clientPool)}
	smtpSource = &side{name: "smtp-source", title: "smtp-source (Postfix)", trips: 4, rate: 9_000, run: runSource}
	// The usual worker makes a connection for each mail: TCP, greeting, EHLO, MAIL, RCPT, DATA, the final dot.
	nodeUsual = &side{name: "node", title: "Node worker, as usually written", trips: 7, overlaps: true, conns: 1, rate: 120, endToEnd: true, run: runNode(usualWorker)}
	nodeTuned = &side{name: "node-tuned", title: "Node worker, tuned", trips: 4, overlaps: true, rate: 300, endToEnd: true, run: runNode(tunedWorker)}
	cartero   = &side{name: "cartero", title: "Cartero, end to end", trips: 1, rate: math.Inf(1), endToEnd: true, run: runCartero}

	sides = []*side{control, nodeUsual, nodeTuned, smtpSource, sender, cartero}
)

// load is what one measurement sends.
type load struct {
	roundTrip time.Duration
	mails     int
}

// step is one measurement of a round.
type step struct {
	name string
	side *side
	load load
	// special is a measurement that is no rate of a side: stages, or recovery, which needs no rounds.
	special func(context.Context, *bench) (sample, error)
	once    bool
}

const (
	stepStages   = "stages"
	stepRecovery = "recovery"
)

// limit is what connections and round trips allow, in mails a second: conns × window / (trips × round trip), with a window
// of one mail.
func (s *side) limit(conns int, roundTrip time.Duration) float64 {
	if s.conns > 0 {
		conns = s.conns
	}
	if roundTrip <= 0 {
		return math.Inf(1)
	}
	return float64(conns) / (s.trips * roundTrip.Seconds())
}

// mails is how many a side gets, so that it sends for about as long as -seconds says; Cartero twice that.
func (s *side) mails(set settings, roundTrip time.Duration) int {
	limit, seconds := s.limit(set.conns, roundTrip), set.seconds
	if s == cartero {
		seconds *= 2
	}
	n := min(float64(set.mails), seconds*min(s.rate, limit))
	return max(int(n), min(set.mails, 2*set.conns))
}

// plan lists the steps of a round. Only those whose name matches -run are there.
func plan(set settings) (steps []step) {
	add := func(s step) {
		if set.Only.MatchString(s.name) {
			steps = append(steps, s)
		}
	}
	for _, roundTrip := range set.roundTrips {
		for _, s := range sides {
			add(step{name: roundTrip.String() + "/" + s.name, side: s, load: load{roundTrip, s.mails(set, roundTrip)}})
		}
	}
	add(step{name: stepStages, special: measureStages})
	add(step{name: stepRecovery, special: measureRecovery, once: true})
	return steps
}
