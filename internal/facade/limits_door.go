package facade

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxWrongKeys is how many wrong keys one address may show at once on its connections; then one more each wrongKeyPause.
	maxWrongKeys  = 10
	wrongKeyPause = 6 * time.Second
	// maxVisitors bounds the memory: whoever was not seen for longest is forgotten.
	maxVisitors = 8192
)

// door slows down who tries keys: an address that has shown too many wrong ones needs a connection of its own for each
// further one. A right key is let in whatever came from its address before: many programs share one behind a proxy.
type door struct {
	mu       sync.Mutex
	visitors map[netip.Prefix]*list.Element
	order    *list.List // of *visitor, the latest first
}

type visitor struct {
	host  netip.Prefix
	wrong *rate.Limiter
}

func newDoor() *door { return &door{visitors: map[netip.Prefix]*list.Element{}, order: list.New()} }

// knock is told of each wrong key. It returns how long the address has to wait before it may show another without losing
// its connection, 0 if it may now.
func (d *door) knock(remote string, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return take(d.visit(hostOf(remote)).wrong, now)
}

func (d *door) visit(host netip.Prefix) *visitor {
	if e, ok := d.visitors[host]; ok {
		d.order.MoveToFront(e)
		return e.Value.(*visitor) //nolint:forcetypeassert,errcheck // nothing else is put in
	}
	if d.order.Len() >= maxVisitors {
		oldest := d.order.Back()
		delete(d.visitors, d.order.Remove(oldest).(*visitor).host) //nolint:forcetypeassert,errcheck // nothing else is put in
	}
	v := &visitor{host: host, wrong: rate.NewLimiter(rate.Every(wrongKeyPause), maxWrongKeys)}
	d.visitors[host] = d.order.PushFront(v)
	return v
}

// hostOf is what one client can't change: its address, of IPv6 the network of 64 bits. What can't be read is one host.
func hostOf(remote string) netip.Prefix {
	addr, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := addr.Addr().Unmap().WithZone(""), 64
	if ip.Is4() {
		bits = 32
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
