package facade

import (
	"container/list"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxWrongKeys is how many wrong keys one address may show at once; then it gets one more each wrongKeyPause.
	maxWrongKeys  = 10
	wrongKeyPause = 6 * time.Second
	// maxVisitors bounds the memory: whoever was not seen for longest is forgotten.
	maxVisitors = 8192
)

// door slows down who tries keys. An address that has shown too many wrong ones is not let in with a right one either, so
// that trying tells nothing, unless that key came from there before: programs behind the same proxy go on.
type door struct {
	mu       sync.Mutex
	visitors map[netip.Prefix]*list.Element
	order    *list.List // of *visitor, the latest first
}

type visitor struct {
	host  netip.Prefix
	wrong *rate.Limiter // nil while no key was wrong
	known []int         // positions of the keys that were right
}

func newDoor() *door { return &door{visitors: map[netip.Prefix]*list.Element{}, order: list.New()} }

// knock is told of each request: the position of its key, -1 if it is wrong. It returns how long the address has to wait
// before it is listened to again, 0 if it is.
func (d *door) knock(remote string, key int, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.visit(hostOf(remote))
	if key < 0 {
		if v.wrong == nil {
			v.wrong = rate.NewLimiter(rate.Every(wrongKeyPause), maxWrongKeys)
		}
		return take(v.wrong, now)
	}
	if slices.Contains(v.known, key) {
		return 0
	}
	if v.wrong != nil && v.wrong.TokensAt(now) < 1 {
		return take(v.wrong, now)
	}
	v.known = append(v.known, key)
	return 0
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
	v := &visitor{host: host}
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
