package facade

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Limits of what a client may take of the server's time and memory.
const (
	// smallBody is how much of a request's body is read without asking whether there is room for it.
	smallBody = 64 << 10
	// roomPerRequest is what each request in flight adds to the room for longer bodies.
	roomPerRequest = 2 << 20

	// A body may take bodyPatience, and a second more for each bodyRate bytes that came: who sends them one by one is
	// cut off, long before who merely has a lot to send.
	bodyPatience = 10 * time.Second
	bodyRate     = 4 << 10
	// campaignTimeout bounds a body of any length.
	campaignTimeout = 5 * time.Minute
	// hurryTimeout is what a client has to send the rest of a body that nobody wants to read.
	hurryTimeout = 2 * time.Second
	// answerTimeout is from the end of a short body to the end of its answer. A mail may take submit.DefaultPatience.
	answerTimeout = 90 * time.Second
)

// errNoRoom: bodies that are being read fill the memory that is there for them.
var errNoRoom = errors.New("no room for a body of this length")

const busy = "the server is busy: try again"

// guards are what stands between a request and its handler.
type guards struct {
	keys keySet
	door *door
	// slots are the requests worked on at once, uploads those of them that read a long body.
	slots, uploads chan struct{}
	room           *room
}

func newGuards(cfg Config) (guards, error) {
	keys, err := newKeySet(cfg.Keys, cfg.Policies)
	if err != nil {
		return guards{}, err
	}
	g := guards{
		keys: keys, door: newDoor(), room: &room{},
		slots: make(chan struct{}, cfg.MaxInFlight), uploads: make(chan struct{}, max(1, cfg.MaxInFlight/2)),
	}
	g.room.left.Store(int64(cfg.MaxInFlight) * roomPerRequest)
	return g, nil
}

// limited bounds the number of requests worked on at once.
func (f *facade) limited(next http.HandlerFunc) http.HandlerFunc {
	return within(f.slots, next)
}

// uploading leaves at least half of the slots to other calls: a body of a million recipients holds one for minutes.
func (f *facade) uploading(next http.HandlerFunc) http.HandlerFunc {
	return within(f.uploads, func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.ContentLength != 0 {
			body := newPacedBody(w, r.Body, campaignTimeout)
			defer body.abandon()
			r.Body = body
		}
		next(w, r)
	})
}

// bodiless is for calls that want no body.
func bodiless(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			hurry(w)
		}
		next(w, r)
	}
}

func within(slots chan struct{}, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next(w, r)
		default:
			hurry(w)
			unavailable(w, busy)
		}
	}
}

// gathered reads the body, which takes as long as the client likes, before the request takes a slot.
func (f *facade) gathered(next http.HandlerFunc) http.HandlerFunc {
	most := min(int64(maxMail), f.MaxBody)
	return func(w http.ResponseWriter, r *http.Request) {
		held := &hold{room: f.room}
		defer held.release()
		if r.Body != nil && r.ContentLength != 0 {
			body, err := held.gather(w, r, most)
			if err != nil {
				notGathered(w, err, most)
				return
			}
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout)) // not every writer has deadlines
		next(readWriter{w}, r)
	}
}

// notGathered answers a request whose body could not be read to its end.
func notGathered(w http.ResponseWriter, err error, most int64) {
	hurry(w)
	if errors.Is(err, errNoRoom) {
		unavailable(w, busy)
		return
	}
	w.Header().Set("Connection", "close")
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		answer(w, http.StatusRequestEntityTooLarge, failure{Error: fmt.Sprintf("the body is larger than %d bytes", most)})
	case errors.Is(err, os.ErrDeadlineExceeded):
		answer(w, http.StatusRequestTimeout, failure{Error: slowBody})
	default: // the client went away, or broke the framing
		answer(w, http.StatusBadRequest, failure{Error: unreadableBody})
	}
}

// readWriter is a ResponseWriter whose request has been read: nothing has to set a deadline for that any more, and one that
// ran out while the request is worked on would cancel it.
type readWriter struct{ http.ResponseWriter }

// SetReadDeadline does nothing.
func (readWriter) SetReadDeadline(time.Time) error { return nil }

// Unwrap lets http.ResponseController reach the connection.
func (w readWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// room is the memory for bodies longer than smallBody, in bytes.
type room struct {
	left atomic.Int64
}

// hold is what one request has of it.
type hold struct {
	room  *room
	bytes int64
}

// more takes another smallBody.
func (h *hold) more() bool {
	if h.room.left.Add(-smallBody) < 0 {
		h.room.left.Add(smallBody)
		return false
	}
	h.bytes += smallBody
	return true
}

func (h *hold) release() { h.room.left.Add(h.bytes) }

// gather reads the body, at most this many bytes.
func (h *hold) gather(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if r.ContentLength > most {
		return nil, &http.MaxBytesError{Limit: most}
	}
	in := http.MaxBytesReader(w, newPacedBody(w, r.Body, mailTimeout), most)
	var body bytes.Buffer
	if 0 < r.ContentLength && r.ContentLength < smallBody {
		body.Grow(int(r.ContentLength) + bytes.MinRead) // so that it never has to grow
	}
	for {
		n, err := io.Copy(&body, io.LimitReader(in, smallBody))
		if err != nil {
			return nil, err
		}
		if n < smallBody {
			return body.Bytes(), nil
		}
		if !h.more() {
			return nil, errNoRoom
		}
	}
}

// pacedBody ends a body that comes too slowly.
type pacedBody struct {
	io.ReadCloser
	control *http.ResponseController
	begin   time.Time
	most    time.Duration
	read    int64
	ended   bool
}

func newPacedBody(w http.ResponseWriter, body io.ReadCloser, most time.Duration) *pacedBody {
	return &pacedBody{ReadCloser: body, control: http.NewResponseController(w), most: most}
}

// Read implements io.Reader.
func (b *pacedBody) Read(p []byte) (int, error) {
	if b.begin.IsZero() {
		b.begin = time.Now()
	}
	allowed := min(b.most, bodyPatience+time.Duration(b.read/bodyRate)*time.Second)
	_ = b.control.SetReadDeadline(b.begin.Add(allowed)) // not every writer has deadlines
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if errors.Is(err, io.EOF) {
		b.ended = true
		_ = b.control.SetReadDeadline(time.Time{}) // running out, it would cancel the request that is being worked on
	}
	return n, err
}

// abandon is called when nobody reads on.
func (b *pacedBody) abandon() {
	if !b.ended {
		_ = b.control.SetReadDeadline(time.Now().Add(hurryTimeout)) // not every writer has deadlines
	}
}

// hurry is called before an answer to a request whose body was not read: net/http reads some of it first.
func hurry(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(hurryTimeout)) // not every writer has deadlines
}

// take takes one from the limiter, if there is one, or tells how long to wait for it.
func take(l *rate.Limiter, now time.Time) time.Duration {
	if l == nil || l.AllowN(now, 1) {
		return 0
	}
	missing := 1 - l.TokensAt(now)
	return max(time.Millisecond, time.Duration(missing/float64(l.Limit())*float64(time.Second)))
}

// tooMany answers 429: the same request is right after this wait.
func tooMany(w http.ResponseWriter, wait time.Duration, text string) {
	hurry(w)
	w.Header().Set("Retry-After", seconds(wait))
	answer(w, http.StatusTooManyRequests, failure{Error: text})
}

// seconds is a wait as Retry-After gives it, rounded up.
func seconds(wait time.Duration) string { return strconv.Itoa(int(math.Ceil(wait.Seconds()))) }
