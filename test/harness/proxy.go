package harness

import (
	"context"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Proxy stands before a server that comes and goes. While it is away its address refuses connections, as one does where
// nobody listens, and nobody else can have the port.
type Proxy struct {
	tb     testing.TB
	target string
	port   int

	mu       sync.Mutex
	socket   int // bound and not listening: the kernel refuses; -1 while there is a listener
	listener net.Listener
	hangUp   bool
	hungUp   int
	conns    map[net.Conn]bool
	serving  sync.WaitGroup
}

// NewProxy reserves an address for the server at target, which is away until Come is called.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p := &Proxy{tb: tb, target: target, conns: map[net.Conn]bool{}}
	p.socket = p.bind()
	name, err := syscall.Getsockname(p.socket)
	if err != nil {
		tb.Fatalf("Reading the port: %v", err)
	}
	p.port = name.(*syscall.SockaddrInet4).Port //nolint:forcetypeassert // it was bound as one
	tb.Cleanup(p.end)
	return p
}

// bind makes a socket with the proxy's port, or a free one the first time. Another of ours may have the port meanwhile.
func (p *Proxy) bind() int {
	p.tb.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		p.tb.Fatalf("Making a socket: %v", err)
	}
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		p.tb.Fatalf("Sharing a port: %v", err)
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Port: p.port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		p.tb.Fatalf("Reserving a port: %v", err)
	}
	return socket
}

// Port is the port on 127.0.0.1.
func (p *Proxy) Port() string { return strconv.Itoa(p.port) }

// Addr is the address to connect to instead of the target.
func (p *Proxy) Addr() string { return net.JoinHostPort("127.0.0.1", p.Port()) }

// Come makes the server reachable.
func (p *Proxy) Come() {
	p.tb.Helper()
	p.listen(false)
}

// Become has the proxy stand before another server from the next connection on.
func (p *Proxy) Become(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// HangUp has the server take connections and close them at once.
func (p *Proxy) HangUp() {
	p.tb.Helper()
	p.listen(true)
}

// HungUp is the number of connections that were closed so.
func (p *Proxy) HungUp() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hungUp
}

func (p *Proxy) listen(hangUp bool) {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangUp = hangUp
	if p.listener != nil {
		return
	}
	if err := syscall.Listen(p.socket, syscall.SOMAXCONN); err != nil {
		p.tb.Fatalf("Listening: %v", err)
	}
	file := os.NewFile(uintptr(p.socket), "proxy")
	listener, err := net.FileListener(file)
	_ = file.Close() // the listener has a copy
	if err != nil {
		p.tb.Fatalf("Listening: %v", err)
	}
	p.listener, p.socket = listener, -1
	p.serving.Go(func() { p.accept(listener) })
}

// Leave takes the server away, with its connections.
func (p *Proxy) Leave() {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return
	}
	p.socket = p.bind() // first, so that nobody else gets the port
	_ = p.listener.Close()
	p.listener = nil
	for conn := range p.conns {
		_ = conn.Close()
	}
	clear(p.conns)
}

func (p *Proxy) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		if p.keep(client) {
			p.serving.Go(func() { p.carry(client) })
		}
	}
}

// keep remembers a connection; or closes it, if that is what connections come to now.
func (p *Proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hangUp || p.listener == nil {
		p.hungUp++
		_ = conn.Close()
		return false
	}
	p.conns[conn] = true
	return true
}

// carry copies both ways until one side closes.
func (p *Proxy) carry(client net.Conn) {
	defer p.forget(client)
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	var dialer net.Dialer
	server, err := dialer.DialContext(context.Background(), "tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
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

func (p *Proxy) forget(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

func (p *Proxy) end() {
	p.Leave()
	_ = syscall.Close(p.socket)
	p.serving.Wait()
}
