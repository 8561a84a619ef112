package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// SinkChild is the name under which programs have ServeSink among their children.
const SinkChild = "sink"

// slot is how long one count of mails over time lasts.
const slot = 100 * time.Millisecond

// slots are how many of them there are: what comes later counts for the last one.
const slots = 36_000

// sinkRequest is what the sink's process is asked.
type sinkRequest struct {
	// Do is address, expect, count or report.
	Do string `json:"do"`
	// Expect is how many recipients there will be, whose addresses begin with numbers from From on; RoundTrip is in ns.
	Expect    int   `json:"expect,omitempty"`
	From      int   `json:"from,omitempty"`
	RoundTrip int64 `json:"roundTrip,omitempty"`
}

// Ledger is what came to a sink since it was told what to expect.
type Ledger struct {
	Address string `json:"address,omitempty"`
	Mails   int    `json:"mails"`
	// Once, Twice and Missing count the expected recipients; Twice is more than once. Strangers are mails to others.
	Once      int `json:"once"`
	Twice     int `json:"twice"`
	Missing   int `json:"missing"`
	Strangers int `json:"strangers"`
	// Octets is the mean size of a mail.
	Octets int `json:"octets"`
	// Slots are the mails of each 100 ms since the sink was told what to expect.
	Slots []int `json:"slots,omitempty"`
}

// Check fails unless every expected recipient got exactly one mail, and nobody else did.
func (l Ledger) Check() error {
	if l.Twice+l.Missing+l.Strangers > 0 {
		return fmt.Errorf("%d recipients got a mail, %d more than one, %d none, and %d mails went elsewhere",
			l.Once, l.Twice, l.Missing, l.Strangers)
	}
	return nil
}

// account is where the sink counts.
type account struct {
	begin                    time.Time
	from                     int
	recipients               []atomic.Uint32
	mails, octets, strangers atomic.Int64
	slots                    [slots]atomic.Uint32
}

func newAccount(from, recipients int) *account {
	return &account{begin: time.Now(), from: from, recipients: make([]atomic.Uint32, recipients)}
}

func (a *account) mail(recipient []byte, octets int) {
	a.mails.Add(1)
	a.octets.Add(int64(octets))
	a.slots[min(int(time.Since(a.begin)/slot), slots-1)].Add(1)
	if n, ok := number(recipient); ok && n >= a.from && n < a.from+len(a.recipients) {
		a.recipients[n-a.from].Add(1)
	} else {
		a.strangers.Add(1)
	}
}

// number reads the digits with which an address begins.
func number(address []byte) (n int, ok bool) {
	for _, c := range address {
		if c < '0' || c > '9' {
			break
		}
		n, ok = n*10+int(c-'0'), true
	}
	return n, ok
}

func (a *account) report() Ledger {
	l := Ledger{Mails: int(a.mails.Load()), Strangers: int(a.strangers.Load())}
	if l.Mails > 0 {
		l.Octets = int(a.octets.Load()) / l.Mails
	}
	for i := range a.recipients {
		switch a.recipients[i].Load() {
		case 0:
			l.Missing++
		case 1:
			l.Once++
		default:
			l.Twice++
		}
	}
	for i := range min(int(time.Since(a.begin)/slot)+1, slots) {
		l.Slots = append(l.Slots, int(a.slots[i].Load()))
	}
	return l
}

// ServeSink is a process that is a sink, and keeps account of the recipients.
func ServeSink(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	var current atomic.Pointer[account]
	current.Store(newAccount(0, 0))
	s := &Sink{OnMail: func(recipient []byte, octets int) { current.Load().mail(recipient, octets) }}
	if err := s.Listen(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return Answer(in, out, func(r sinkRequest) (any, error) {
		switch r.Do {
		case "address":
			return Ledger{Address: s.Addr()}, nil
		case "expect":
			s.SetRoundTrip(time.Duration(r.RoundTrip))
			current.Store(newAccount(r.From, r.Expect))
			return Ledger{}, nil
		case "count":
			return Ledger{Mails: int(current.Load().mails.Load())}, nil
		case "report":
			return current.Load().report(), nil
		}
		return nil, fmt.Errorf("a sink can't %q", r.Do)
	})
}

// SinkProcess is a sink in a process of its own.
type SinkProcess struct {
	*Child

	// Address is host and port.
	Address string
}

// StartSink starts one; the program must have ServeSink among its children.
func StartSink() (*SinkProcess, error) {
	child, err := StartSelf(SinkChild)
	if err != nil {
		return nil, err
	}
	s := &SinkProcess{Child: child}
	var l Ledger
	if err := s.Ask(sinkRequest{Do: "address"}, &l); err != nil {
		child.Kill()
		return nil, err
	}
	s.Address = l.Address
	return s, nil
}

// Expect begins anew, for recipients with numbers from from on. Clients connect after it has returned.
func (s *SinkProcess) Expect(from, recipients int, roundTrip time.Duration) error {
	return s.Ask(sinkRequest{Do: "expect", From: from, Expect: recipients, RoundTrip: int64(roundTrip)}, nil)
}

// Mails is how many have come.
func (s *SinkProcess) Mails() (int, error) {
	var l Ledger
	err := s.Ask(sinkRequest{Do: "count"}, &l)
	return l.Mails, err
}

// Report is what has come.
func (s *SinkProcess) Report() (l Ledger, err error) {
	err = s.Ask(sinkRequest{Do: "report"}, &l)
	return l, err
}
