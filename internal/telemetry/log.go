// Package telemetry has what every process reports about itself: logs that mask addresses and secrets, metrics without
// campaign, recipient or domain labels, probes that name components only, and the servers for them.
package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// NewLogger returns a logger that writes JSON lines, or logfmt lines where json is false, from level on. The redactor
// sees every message and attribute first.
func NewLogger(w io.Writer, level slog.Leveler, json bool, redactor *Redactor) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if json {
		handler = slog.NewJSONHandler(w, options)
	}
	return slog.New(&redactingHandler{next: handler, redactor: redactor})
}

// Logr returns the logger as the Kubernetes libraries want it. Their V(1) to V(4) are the level debug.
func Logr(logger *slog.Logger) logr.Logger { return logr.FromSlogHandler(logger.Handler()) }

// InstallKlog makes client-go, which logs through the global klog, write to the logger.
func InstallKlog(logger *slog.Logger) { klog.SetLogger(Logr(logger)) }

// redactingHandler masks messages and attributes before the next handler sees them.
type redactingHandler struct {
	next     slog.Handler
	redactor *Redactor
}

// Enabled implements slog.Handler.
func (h *redactingHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *redactingHandler) Handle(ctx context.Context, record slog.Record) error {
	clean := slog.NewRecord(record.Time, record.Level, h.redactor.Redact(record.Message), record.PC)
	record.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h *redactingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &redactingHandler{next: h.next.WithAttrs(h.attrs(attrs)), redactor: h.redactor}
}

// WithGroup implements slog.Handler.
func (h *redactingHandler) WithGroup(name string) slog.Handler {
	return &redactingHandler{next: h.next.WithGroup(name), redactor: h.redactor}
}

func (h *redactingHandler) attrs(attrs []slog.Attr) []slog.Attr {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return clean
}

// withoutDashes makes the spellings of a key one. Made once: it is asked for each attribute of each line.
var withoutDashes = strings.NewReplacer("-", "", "_", "")

// secretKeys are attributes whose value is masked whatever it is. In lower case, without separators.
var secretKeys = map[string]bool{
	"password": true, "passwd": true, "secret": true, "apikey": true, "xapikey": true, "authorization": true, "token": true,
	"databaseurl": true, "redisurl": true, "dsn": true,
}

func (h *redactingHandler) attr(a slog.Attr) slog.Attr {
	if secretKeys[withoutDashes.Replace(strings.ToLower(a.Key))] {
		return slog.String(a.Key, maskedSecret)
	}
	value := a.Value.Resolve()
	switch value.Kind() {
	case slog.KindString:
		return slog.String(a.Key, h.redactor.Redact(value.String()))
	case slog.KindGroup:
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(h.attrs(value.Group())...)}
	case slog.KindAny:
		return slog.Any(a.Key, h.any(value.Any()))
	default:
		return slog.Attr{Key: a.Key, Value: value}
	}
}

// any masks a value of any type by what it would be written as.
func (h *redactingHandler) any(value any) any {
	switch v := value.(type) {
	case nil:
		return nil
	case error:
		return h.redactor.Redact(v.Error())
	case fmt.Stringer:
		return h.redactor.Redact(v.String())
	}
	text, err := json.Marshal(value)
	if err != nil {
		return h.redactor.Redact(fmt.Sprintf("%+v", value))
	}
	if clean := h.redactor.Redact(string(text)); clean != string(text) {
		return clean
	}
	return value
}
