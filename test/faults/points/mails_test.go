package points

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The mails that a program hands in beside the campaign: some to be queued, some to be sent while it waits.
var (
	queuedMails = []string{"a0", "a1", "a2", "bounce-a"}
	sentMails   = []string{"s0", "s1", "later-s", "bounce-s"}
)

// tryTimeout bounds one request, retryPause is the wait before the same mail is handed in again.
const (
	tryTimeout = 5 * time.Second
	retryPause = 100 * time.Millisecond
)

// mailed is what becomes of them.
func mailed() map[string]recipient {
	all := map[string]recipient{}
	for _, name := range append(append([]string{}, queuedMails...), sentMails...) {
		all[name] = idealOf(name)
	}
	return all
}

// answered is how each is answered in the end.
func answered() map[string]int {
	all := map[string]int{}
	for _, name := range queuedMails {
		all[name] = http.StatusAccepted
	}
	for _, name := range sentMails {
		all[name] = http.StatusOK
	}
	all["bounce-s"] = http.StatusInternalServerError
	return all
}

// mails are what a program hands in, each until it has an answer that says what became of it. Every try has the same
// Idempotency-Key.
type mails struct {
	scene *scene
	done  sync.WaitGroup

	mu      sync.Mutex
	answers map[string]int
}

func (s *scene) startMails() {
	ctx, cancel := context.WithCancel(s.t.Context())
	s.mails = &mails{scene: s, answers: map[string]int{}}
	for call, names := range map[string][]string{"/send_async": queuedMails, "/send": sentMails} {
		for _, name := range names {
			s.mails.done.Go(func() { s.mails.handIn(ctx, call, name) })
		}
	}
	s.t.Cleanup(func() { cancel(); s.mails.done.Wait() })
}

func (s *scene) mailsAnswered() bool {
	s.mails.mu.Lock()
	defer s.mails.mu.Unlock()
	return len(s.mails.answers) == len(queuedMails)+len(sentMails)
}

func (m *mails) all() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.answers)
}

// handIn tries until the answer is one.
func (m *mails) handIn(ctx context.Context, call, name string) {
	ticker := time.NewTicker(retryPause)
	defer ticker.Stop()
	for {
		status := m.try(ctx, call, name)
		switch status {
		case 0, http.StatusServiceUnavailable, http.StatusConflict, http.StatusTooManyRequests:
		default:
			m.mu.Lock()
			m.answers[name] = status
			m.mu.Unlock()
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// try is one request; 0 without an answer.
func (m *mails) try(ctx context.Context, call, name string) int {
	m.scene.mu.Lock()
	process := m.scene.facade
	m.scene.mu.Unlock()
	at := m.scene.world.FacadeAddress(process)
	if at == "" {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	body := fmt.Sprintf(`{"to": %q, "subject": "A mail", "body": "Hello."}`, m.scene.address(name))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at+call, strings.NewReader(body))
	if err != nil {
		return 0
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", apiKey)
	request.Header.Set("Idempotency-Key", m.scene.tag+"."+name)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0
	}
	return response.StatusCode
}
