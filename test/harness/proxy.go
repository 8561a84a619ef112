package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
)

// Proxy stands before a server that may be away. Until Come is called its address refuses connections, as one does where
// nobody listens, and nobody else can have the port.
type Proxy struct {
	tb     testing.TB
	target string
	port   int
	socket int

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	serving  sync.WaitGroup
}

// NewProxy reserves an address for the server at target.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatalf("Making a socket: %v", err)
	}
	// Bound and not listening: the kernel answers with a reset.
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		tb.Fatalf("Reserving a port: %v", err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		tb.Fatalf("Reading the port: %v", err)
	}
	p := &Proxy{tb: tb, target: target, socket: socket, conns: map[net.Conn]bool{}}
	p.port = name.(*syscall.SockaddrInet4).Port //nolint:errcheck,forcetypeassert // it was bound as one
	tb.Cleanup(p.end)
	return p
}

// Port is the port on 127.0.0.1.
func (p *Proxy) Port() string { return fmt.Sprint(p.port) }

// Addr is the address to connect to instead of the target.
func (p *Proxy) Addr() string { return net.JoinHostPort("127.0.0.1", p.Port()) }

// Come makes the server reachable.
func (p *Proxy) Come() {
	p.tb.Helper()
	if err := syscall.Listen(p.socket, syscall.SOMAXCONN); err != nil {
		p.tb.Fatalf("Listening: %v", err)
	}
	file := os.NewFile(uintptr(p.socket), "proxy")
	listener, err := net.FileListener(file)
	_ = file.Close() // the listener has a copy
	if err != nil {
		p.tb.Fatalf("Listening: %v", err)
	}
	p.mu.Lock()
	p.listener = listener
	p.mu.Unlock()
	p.serving.Go(func() { p.accept(listener) })
}

func (p *Proxy) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		p.serving.Go(func() { p.carry(client) })
	}
}

// carry copies both ways until one side closes.
func (p *Proxy) carry(client net.Conn) {
	defer client.Close()
	var dialer net.Dialer
	server, err := dialer.DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	p.keep(client, server)
	var way sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		way.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // either end closes, sooner or later
			_ = client.Close()
			_ = server.Close()
		})
	}
	way.Wait()
}

func (p *Proxy) keep(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		p.conns[conn] = true
	}
}

func (p *Proxy) end() {
	p.mu.Lock()
	if p.listener == nil {
		_ = syscall.Close(p.socket)
	} else {
		_ = p.listener.Close()
	}
	for conn := range p.conns {
		_ = conn.Close()
	}
	p.mu.Unlock()
	p.serving.Wait()
}
