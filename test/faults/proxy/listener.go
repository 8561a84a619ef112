package proxy

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Listener takes connections on a port of its own and gives each to a function, in a goroutine.
type Listener struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu     sync.Mutex
	open   map[*Link]bool
	closed bool
}

// Link is a connection of a client.
type Link struct {
	net.Conn

	// Ended is closed when the connection is, by whomever on this side.
	Ended chan struct{}
	once  sync.Once
}

// Close implements net.Conn. It may be called again.
func (l *Link) Close() error {
	var err error
	l.once.Do(func() {
		close(l.Ended)
		err = l.Conn.Close()
	})
	return err
}

// Listen takes connections on 127.0.0.1 until the test ends. carry closes the one it is given.
func Listen(tb testing.TB, carry func(client *Link)) *Listener {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("Listening: %v", err)
	}
	l := &Listener{listener: listener, open: map[*Link]bool{}}
	l.serving.Go(func() { l.accept(carry) })
	tb.Cleanup(l.end)
	return l
}

// Addr is the address to connect to.
func (l *Listener) Addr() string { return l.listener.Addr().String() }

// CutAll closes the connections that are open now; new ones are taken.
func (l *Listener) CutAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for link := range l.open {
		_ = link.Close()
	}
}

func (l *Listener) accept(carry func(*Link)) {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		link := &Link{Conn: conn, Ended: make(chan struct{})}
		l.mu.Lock()
		if l.closed {
			_ = link.Close()
		}
		l.open[link] = true
		l.mu.Unlock()
		l.serving.Go(func() {
			carry(link)
			_ = link.Close()
			l.mu.Lock()
			delete(l.open, link)
			l.mu.Unlock()
		})
	}
}

func (l *Listener) end() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	_ = l.listener.Close()
	l.CutAll()
	l.serving.Wait()
}

// Dial connects to the server behind a proxy.
func Dial(addr string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(context.Background(), "tcp", addr)
}
