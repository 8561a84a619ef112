package telemetry

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// probeTimeout is how long one check may take before its component counts as away.
const probeTimeout = 2 * time.Second

// Check asks one component whether it is there.
type Check struct {
	// Name is the component's name, such as "database". It is all that a probe's answer says.
	Name string
	// Probe returns nil while the component works. It is stopped after 2 seconds.
	Probe func(ctx context.Context) error
}

// Health answers probes: GET /livez while the process works, GET /readyz while its components do.
type Health struct {
	checks []Check
	logger *slog.Logger

	mu     sync.Mutex
	failed map[string]bool
}

// NewHealth returns a Health over the checks. The logger is told when a component goes away or comes back, not at
// every probe.
func NewHealth(logger *slog.Logger, checks ...Check) *Health {
	return &Health{checks: checks, logger: logger, failed: map[string]bool{}}
}

// Register adds GET /livez and GET /readyz.
func (h *Health) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", h.Live)
	mux.HandleFunc("GET /readyz", h.Ready)
}

// Handler serves GET /livez and GET /readyz.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	h.Register(mux)
	return mux
}

// healthAnswer is the body of a probe's answer.
type healthAnswer struct {
	Status  string   `json:"status"`
	Failing []string `json:"failing,omitempty"`
}

// Live answers 200: that there is an answer is what counts.
func (h *Health) Live(w http.ResponseWriter, _ *http.Request) {
	answerHealth(w, http.StatusOK, healthAnswer{Status: "ok"})
}

// Ready answers 200, or 503 with the names of the components that are away.
func (h *Health) Ready(w http.ResponseWriter, r *http.Request) {
	if failing := h.Failing(r.Context()); len(failing) > 0 {
		answerHealth(w, http.StatusServiceUnavailable, healthAnswer{Status: "unavailable", Failing: failing})
		return
	}
	answerHealth(w, http.StatusOK, healthAnswer{Status: "ok"})
}

func answerHealth(w http.ResponseWriter, status int, answer healthAnswer) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // Whoever asked has gone away.
}

// Failing runs all checks at once and returns the names of those that failed, in the order of NewHealth.
func (h *Health) Failing(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()

	errs := make([]error, len(h.checks))
	var wg sync.WaitGroup
	for i, check := range h.checks {
		wg.Go(func() { errs[i] = check.Probe(ctx) })
	}
	wg.Wait()

	var failing []string
	for i, check := range h.checks {
		h.note(check.Name, errs[i])
		if errs[i] != nil {
			failing = append(failing, check.Name)
		}
	}
	return failing
}

// note logs a component's change.
func (h *Health) note(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil && !h.failed[name]:
		h.logger.Warn("Component is away", "component", name, "error", err)
	case err == nil && h.failed[name]:
		h.logger.Info("Component is back", "component", name)
	}
	h.failed[name] = err != nil
}
