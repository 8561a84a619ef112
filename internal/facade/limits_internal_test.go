package facade

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestTheDoorsMemoryIsBounded: whoever was seen last is remembered, however many come.
func TestTheDoorsMemoryIsBounded(t *testing.T) {
	t.Parallel()
	d, now := newDoor(), time.Now()
	const host = "198.51.100.1:1"
	for range maxWrongKeys {
		if wait := d.knock(host, now); wait > 0 {
			t.Fatalf("has to wait for %v too early", wait)
		}
	}
	for i := range 3 * maxVisitors {
		d.knock(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&0xff, i&0xff), now)
		if i%1000 == 0 && d.knock(host, now) == 0 {
			t.Fatalf("was forgotten after %d others", i)
		}
	}
	if len(d.visitors) != maxVisitors || d.order.Len() != maxVisitors {
		t.Errorf("%d addresses are remembered, in a list of %d", len(d.visitors), d.order.Len())
	}
}

// TestLongBodiesShareRoom: short bodies need none, long ones are read while there is some, and give it back.
func TestLongBodiesShareRoom(t *testing.T) {
	t.Parallel()
	const most, all = 10 * smallBody, 4 * smallBody
	shared := &room{}
	shared.left.Store(all)
	gather := func(length int) (*hold, []byte, error) {
		h := &hold{room: shared}
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(make([]byte, length)))
		body, err := h.gather(httptest.NewRecorder(), r, most)
		return h, body, err
	}
	long, body, err := gather(4*smallBody + 7)
	if err != nil || len(body) != 4*smallBody+7 || shared.left.Load() != 0 {
		t.Fatalf("%d bytes, %v; %d left", len(body), err, shared.left.Load())
	}
	if _, body, err := gather(smallBody - 1); err != nil || len(body) != smallBody-1 {
		t.Errorf("a short body: %d bytes, %v", len(body), err)
	}
	refused, _, err := gather(2 * smallBody)
	if !errors.Is(err, errNoRoom) {
		t.Errorf("a long body: %v", err)
	}
	refused.release()
	long.release()
	again, _, err := gather(3 * smallBody)
	if err != nil {
		t.Errorf("when there is room again: %v", err)
	}
	again.release()
	if left := shared.left.Load(); left != all {
		t.Errorf("%d bytes of room are left in the end, want %d", left, all)
	}
	var tooLarge *http.MaxBytesError
	if _, _, err := gather(most + 1); !errors.As(err, &tooLarge) {
		t.Errorf("a body over the limit: %v", err)
	}
}
