package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// The addresses that an inbox listens on where its Config does not say.
const (
	DefaultSMTPAddr = "127.0.0.1:1025"
	DefaultHTTPAddr = "127.0.0.1:8025"
)

// Config is how an inbox is set up.
type Config struct {
	// SMTPAddr and HTTPAddr are host:port, the host a loopback address or localhost. Port 0 takes a free one. Empty
	// means DefaultSMTPAddr and DefaultHTTPAddr.
	SMTPAddr string
	HTTPAddr string
	// Dir is where the mails are kept. It is created, and only one process at a time may use it.
	Dir string
	// Log receives what goes wrong, without addresses; nil discards it.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Inbox is a running SMTP server with its web page. It is safe for concurrent use.
type Inbox struct {
	store    *store
	practice *practice
	log      *slog.Logger
	now      func() time.Time

	smtp     *smtp.Server
	http     *http.Server
	listener net.Listener // the SMTP server's, which forgets to close it if Serve has not begun
	smtpAddr net.Addr
	httpAddr net.Addr

	serving   sync.WaitGroup
	cancel    context.CancelFunc
	closeOnce sync.Once
	closeErr  error
}

// Start opens the mails of earlier runs and listens. The inbox runs until Close or the end of ctx.
func Start(ctx context.Context, config Config) (*Inbox, error) {
	if config.Dir == "" {
		return nil, errors.New("starting the inbox: Dir is required")
	}
	in := &Inbox{practice: newPractice(), log: config.Log, now: config.Now}
	if in.log == nil {
		in.log = slog.New(slog.DiscardHandler)
	}
	if in.now == nil {
		in.now = time.Now
	}
	// The ports first: they keep a second inbox away from the files of the first.
	smtpListener, err := listen(ctx, config.SMTPAddr, DefaultSMTPAddr)
	if err != nil {
		return nil, fmt.Errorf("starting the inbox's SMTP server: %w", err)
	}
	httpListener, err := listen(ctx, config.HTTPAddr, DefaultHTTPAddr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the inbox's web page: %w", err), smtpListener.Close())
	}
	if in.store, err = openStore(config.Dir); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the inbox: %w", err), smtpListener.Close(), httpListener.Close())
	}
	in.listener = smtpListener
	in.smtpAddr, in.httpAddr = smtpListener.Addr(), httpListener.Addr()
	in.smtp = newSMTPServer(smtp.BackendFunc(in.newSession), in.log)
	in.http = &http.Server{Handler: in.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}

	in.serving.Go(func() {
		if err := in.smtp.Serve(smtpListener); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			in.log.Error("The inbox's SMTP server ended", slog.Any("error", err))
		}
	})
	in.serving.Go(func() {
		if err := in.http.Serve(httpListener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			in.log.Error("The inbox's web page ended", slog.Any("error", err))
		}
	})
	ctx, in.cancel = context.WithCancel(ctx)
	context.AfterFunc(ctx, func() { _ = in.Close() }) // whoever calls Close gets its error
	return in, nil
}

func listen(ctx context.Context, addr, fallback string) (net.Listener, error) {
	if addr == "" {
		addr = fallback
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("reading the address %q: %w", addr, err)
	}
	if !loopback(host) {
		return nil, fmt.Errorf("the address %q is not a loopback one: the inbox asks for no password, use 127.0.0.1", addr)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", addr, err)
	}
	return listener, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func (in *Inbox) newSession(*smtp.Conn) (smtp.Session, error) {
	return &session{store: in.store, practice: in.practice, log: in.log, now: in.now}, nil
}

// SMTPAddr is the host:port to send mails to: plain SMTP, no authentication.
func (in *Inbox) SMTPAddr() string { return in.smtpAddr.String() }

// URL is where the web page is.
func (in *Inbox) URL() string { return "http://" + in.httpAddr.String() }

// Count is the number of mails.
func (in *Inbox) Count() int { return in.store.summary().Messages }

// Messages returns all mails without their texts, the oldest first.
func (in *Inbox) Messages() []Message { return in.store.messages() }

// Raw returns a mail as it came.
func (in *Inbox) Raw(id uint64) ([]byte, error) {
	_, raw, err := in.store.raw(id)
	return raw, err
}

// Summary counts what is in the inbox.
func (in *Inbox) Summary() Summary {
	summary := in.store.summary()
	summary.Refused = in.practice.counts()
	return summary
}

// Recipients returns how many mails each recipient got, by the address in lower case with the domain as A-labels.
func (in *Inbox) Recipients() map[string]int { return in.store.deliveriesByRecipient() }

// Clear removes all mails.
func (in *Inbox) Clear() error { return in.store.clear() }

// Close ends both servers, with the connections that they have, and closes the files. It may be called again.
func (in *Inbox) Close() error {
	in.closeOnce.Do(func() {
		in.cancel()
		in.closeErr = errors.Join(in.smtp.Close(), in.http.Close())
		if err := in.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			in.closeErr = errors.Join(in.closeErr, err)
		}
		in.serving.Wait()
		in.closeErr = errors.Join(in.closeErr, in.store.close())
	})
	return in.closeErr
}
