package kube

import (
	"context"
	"io"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/test/faults/proxy"
)

// patience bounds the wait for a change that a frozen watch keeps back.
const patience = 3 * time.Minute

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request := Request{Method: r.Method, Path: r.URL.Path, Watch: r.URL.Query().Get("watch") != ""}
	rule := p.Find(request)
	if rule == nil {
		p.forward(w, r, request.Watch)
		return
	}
	switch rule.Do {
	case proxy.Answer:
		refuse(w, rule.Reply)
		rule.Note()
	case proxy.Lose:
		p.lose(r)
		rule.Note()
		panic(http.ErrAbortHandler)
	case proxy.Hold:
		rule.Note()
		if rule.Wait(r.Context().Done()) {
			p.forward(w, r, request.Watch)
		}
	case proxy.Swallow:
		rule.Note()
		rule.Wait(r.Context().Done())
		panic(http.ErrAbortHandler)
	default:
		rule.Note()
		panic(http.ErrAbortHandler)
	}
}

// ask has the API server answer a request.
func (p *Proxy) ask(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host, out.Host = p.upstream.Scheme, p.upstream.Host, p.upstream.Host
	out.Header.Del("Connection")
	return p.transport.RoundTrip(out)
}

// lose has the API server carry a request out to its end, and keeps the answer.
func (p *Proxy) lose(r *http.Request) {
	response, err := p.ask(r.WithContext(context.WithoutCancel(r.Context())))
	if err != nil {
		p.tb.Errorf("A request whose answer was to be lost was not carried out: %v", err)
		return
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body) // its end is what counts
}

func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, watch bool) {
	if watch {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		p.mu.Lock()
		cut := p.cut
		p.mu.Unlock()
		go func() {
			select {
			case <-cut:
				cancel()
			case <-ctx.Done():
			}
		}()
		r = r.WithContext(ctx)
	}
	response, err := p.ask(r)
	if err != nil {
		panic(http.ErrAbortHandler) // the API server is gone, or the client
	}
	defer response.Body.Close()
	maps.Copy(w.Header(), response.Header)
	w.WriteHeader(response.StatusCode)
	if !watch {
		_, _ = io.Copy(w, response.Body) // the client sees a short body
		return
	}
	p.stream(w, r, response.Body)
}

// stream delivers a watch as it comes, unless it is frozen.
func (p *Proxy) stream(w http.ResponseWriter, r *http.Request, body io.Reader) {
	flush := http.NewResponseController(w).Flush
	_ = flush() // the headers: a watch begins with silence
	buffer := make([]byte, 1<<16)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			if !p.pass(r.Context()) {
				panic(http.ErrAbortHandler)
			}
			if _, err := w.Write(buffer[:n]); err != nil || flush() != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until watches deliver.
func (p *Proxy) pass(ctx context.Context) bool {
	p.mu.Lock()
	gate, frozen := p.gate, p.frozen
	p.mu.Unlock()
	if frozen != nil {
		frozen.mu.Lock()
		frozen.kept++
		close(frozen.changed)
		frozen.changed = make(chan struct{})
		frozen.mu.Unlock()
	}
	select {
	case <-gate:
		return true
	case <-ctx.Done():
		return false
	case <-p.ended:
		return false
	}
}

// Freeze has every watch deliver nothing more, without a word, until Thaw.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil {
		p.gate, p.frozen = make(chan struct{}), &frost{changed: make(chan struct{})}
	}
}

// AwaitKept waits until frozen watches keep something back.
func (p *Proxy) AwaitKept(tb testing.TB) {
	tb.Helper()
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if frozen == nil {
		tb.Fatal("no watch is frozen")
	}
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		frozen.mu.Lock()
		kept, changed := frozen.kept, frozen.changed
		frozen.mu.Unlock()
		if kept > 0 {
			return
		}
		select {
		case <-changed:
		case <-over.C:
			tb.Fatal("the frozen watches had nothing to say")
		}
	}
}

// CutWatches ends the watches that are open. What they kept is lost.
func (p *Proxy) CutWatches() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.cut)
	p.cut = make(chan struct{})
}

// Thaw has watches deliver again, first what they kept.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.gate)
		p.frozen = nil
	}
}
