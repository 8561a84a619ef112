package worker_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cartero-mail/cartero/internal/mail"
)

const (
	// whenFull is where the journal has no room for the next final dot.
	whenFull       = "when the journal's disk is full"
	fullRecipients = 200
	// fewAtOnce are so few that no room is made ahead for what the journal will say of them, and take more than a page of it.
	fewAtOnce = 31
	// ballast is the file that takes what is left.
	ballast = "ballast"
)

// fill writes until the disk has no room left.
func fill(dir string) {
	f, err := os.OpenFile(filepath.Join(dir, ballast), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	for page := make([]byte, os.Getpagesize()); err == nil; {
		_, err = f.Write(page)
	}
}

// fillingRelay fills the journal's disk with the first mail, and tells when a dot may not go out.
type fillingRelay struct {
	ledgerFile

	refused func()
	first   *sync.Once
	sent    *atomic.Int32
	// full returns once the worker has met with the full disk; the mail with the number last waits for it.
	last int
	full func()
}

func (r fillingRelay) Send(ctx context.Context, envelope mail.Envelope, raw []byte, beforeDot func() error) mail.Verdict {
	r.first.Do(func() { fill(filepath.Join(string(r.ledgerFile), "journal")) })
	if int(r.sent.Add(1)) == r.last {
		r.full()
	}
	return r.ledgerFile.Send(ctx, envelope, raw, func() error {
		err := beforeDot()
		if err != nil {
			r.refused()
		}
		return err
	})
}
