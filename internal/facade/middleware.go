package facade

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
)

// catchAll is the pattern of everything that no other pattern matches.
const catchAll = "/"

// RequestIDHeader names a request in the log. A client may choose the id itself.
const RequestIDHeader = "X-Request-Id"

// clientRequestID is what is taken over from a client: nothing that could hold an address.
var clientRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// open registers a handler for everybody.
func (f *facade) open(pattern string, handler http.HandlerFunc) {
	f.mux.Handle(pattern, f.observe(pattern, slog.LevelInfo, f.recovering(bodiless(handler))))
}

// probe registers a handler that is asked so often that logging it would drown everything else.
func (f *facade) probe(pattern string, handler http.HandlerFunc) {
	f.mux.Handle(pattern, f.observe(pattern, slog.LevelDebug, f.recovering(bodiless(handler))))
}

// guarded registers a handler for holders of a key. Its request has been read to the end, into memory.
func (f *facade) guarded(pattern string, handler http.HandlerFunc) {
	f.mux.Handle(pattern, f.observe(pattern, slog.LevelInfo, f.recovering(f.authenticated(f.gathered(f.limited(handler))))))
}

// streamed registers a handler for holders of a key that reads a long body by itself.
func (f *facade) streamed(pattern string, handler http.HandlerFunc) {
	f.mux.Handle(pattern, f.observe(pattern, slog.LevelInfo, f.recovering(f.authenticated(f.uploading(f.limited(handler))))))
}

// observe gives the request an id, and logs and counts it by its route: no path, body, address or key.
func (f *facade) observe(route string, level slog.Level, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(RequestIDHeader)
		if !clientRequestID.MatchString(id) {
			id = f.NewID()
		}
		header := w.Header()
		header.Set(RequestIDHeader, id)
		header.Set("X-Content-Type-Options", "nosniff")

		begin := f.Now()
		f.Metrics.InFlight(1)
		defer f.Metrics.InFlight(-1)
		recorder := &recorder{ResponseWriter: w}
		seen := &observation{id: id}
		ctx := context.WithValue(r.Context(), observationKey{}, seen)
		// Deferred, so that an aborted request is told too.
		defer func() {
			took := f.Now().Sub(begin)
			f.Metrics.Request(route, recorder.code(), took)
			f.Logger.Log(ctx, level, "Answered a request", "route", route, "status", recorder.code(), "seconds", took.Seconds(),
				"bytes", recorder.bytes, "requestId", id, "caller", seen.name())
		}()
		next(recorder, r.WithContext(ctx))
	}
}

// observation is what is known of a request.
type observation struct {
	id     string
	caller *caller // nil until the key was found to be right
}

// name is that of the caller's policy; empty without one.
func (o *observation) name() string {
	if o.caller == nil {
		return ""
	}
	return o.caller.name
}

// observationKey is the context key of the request's observation.
type observationKey struct{}

// observed returns what is known of the request, nil outside of one.
func observed(ctx context.Context) *observation {
	seen, _ := ctx.Value(observationKey{}).(*observation)
	return seen
}

func requestID(ctx context.Context) string {
	if seen := observed(ctx); seen != nil {
		return seen.id
	}
	return ""
}

// recovering answers 500, without internals, where a handler panics.
func (f *facade) recovering(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so too
				panic(cause)
			}
			f.Logger.ErrorContext(ctx, "A request handler panicked", "cause", panicCause(cause), "stack", string(debug.Stack()),
				"requestId", requestID(ctx))
			hurry(w)
			if recorder, ok := w.(*recorder); ok && recorder.status == 0 {
				answer(w, http.StatusInternalServerError, failure{Error: "internal error"})
			}
		}()
		next(w, r)
	}
}

// panicCause says what a panic was about without what may come from a request: the text of an error of the runtime, the type
// of any other value.
func panicCause(cause any) string {
	if err, ok := cause.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", cause)
}

// unknown answers 405 where another method would be right, else 404.
func (f *facade) unknown(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := f.mux.Handler(other); pattern != catchAll {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		answer(w, http.StatusNotFound, failure{Error: "there is no such page"})
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	answer(w, http.StatusMethodNotAllowed, failure{Error: "use the method " + strings.Join(allowed, " or ")})
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// code is the status, 200 where the handler wrote none, as net/http does.
func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}
