package inbox

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
)

//go:embed web
var webFiles embed.FS

// Content security policies. Nothing comes from elsewhere; the frame with a mail's HTML runs nothing at all, and has no
// origin; a download would not either if a browser showed it.
const (
	pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
		"frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	mailPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:%s; font-src data:%s; " +
		"form-action 'none'; frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
	downloadPolicy = "default-src 'none'; frame-ancestors 'none'; sandbox"
)

// handler returns the web page and the JSON API behind their checks.
func (in *Inbox) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", in.showList)
	mux.HandleFunc("GET /messages/{id}", in.showMessage)
	mux.HandleFunc("GET /messages/{id}/html", in.showHTML)
	mux.HandleFunc("GET /messages/{id}/raw", in.showRaw)
	mux.HandleFunc("GET /messages/{id}/attachments/{number}", in.showAttachment)
	mux.HandleFunc("POST /clear", in.clearFromPage)

	mux.HandleFunc("GET /api/messages", in.apiMessages)
	mux.HandleFunc("DELETE /api/messages", in.apiClear)
	mux.HandleFunc("GET /api/messages/{id}", in.apiMessage)
	mux.HandleFunc("GET /api/summary", in.apiSummary)

	mux.HandleFunc("GET /assets/{name}", showAsset)
	return guard(http.NewCrossOriginProtection().Handler(mux))
}

// guard refuses requests under any other name than a loopback one: a page that has its own name point to 127.0.0.1
// (DNS rebinding) must not read the inbox. Requests of other origins that change something are refused by
// http.CrossOriginProtection.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if !loopback(strings.Trim(host, "[]")) {
			http.Error(w, "The inbox answers under localhost and loopback addresses only.", http.StatusForbidden)
			return
		}
		header := w.Header()
		header.Set("Content-Security-Policy", pagePolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

var assetTypes = map[string]string{
	"app.css":     "text/css; charset=utf-8",
	"app.js":      "text/javascript; charset=utf-8",
	"favicon.svg": "image/svg+xml",
}

func showAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	contentType, ok := assetTypes[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	content, err := webFiles.ReadFile("web/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(content) //nolint:gosec // one of three embedded files
}

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"size":  formatSize,
	"count": formatCount,
	"add":   func(a, b int) int { return a + b },
}).ParseFS(webFiles, "web/*.html"))

// render writes a page, or the error of its template as 500: never half a page.
func (in *Inbox) render(w http.ResponseWriter, name string, data any) {
	var page bytes.Buffer
	if err := templates.ExecuteTemplate(&page, name, data); err != nil {
		in.fail(w, fmt.Errorf("rendering %s: %w", name, err))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = page.WriteTo(w)
}

// fail answers with what went wrong: 404 for a mail that is not there, 500 without a text for anything else.
func (in *Inbox) fail(w http.ResponseWriter, err error) {
	if errors.Is(err, errNotFound) {
		http.Error(w, "There is no such mail in the inbox (any more).", http.StatusNotFound)
		return
	}
	in.log.Error("Answering a request failed", slog.Any("error", err))
	http.Error(w, "Something went wrong; the log of the inbox says what.", http.StatusInternalServerError)
}

// message returns the mail that the path names.
func (in *Inbox) message(r *http.Request) (Message, []byte, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return Message{}, nil, errNotFound
	}
	return in.store.raw(id)
}

// formatSize writes a number of bytes for people.
func formatSize(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	default:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
}

// formatCount writes a number with thin spaces between the thousands.
func formatCount(n int) string {
	digits := strconv.Itoa(n)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "\u202f" + digits[at:]
	}
	return digits
}

// --- JSON

func (in *Inbox) apiMessages(w http.ResponseWriter, r *http.Request) {
	in.writeJSON(w, in.store.list(r.FormValue("query"), pageNumber(r)))
}

func (in *Inbox) apiMessage(w http.ResponseWriter, r *http.Request) {
	message, raw, err := in.message(r)
	if err != nil {
		in.fail(w, err)
		return
	}
	in.writeJSON(w, struct {
		Message
		Content
	}{message, parseContent(raw)})
}

// apiSummary answers with the counts; with ?recipients=true also with the mails of each recipient.
func (in *Inbox) apiSummary(w http.ResponseWriter, r *http.Request) {
	answer := struct {
		Summary
		PerRecipient map[string]int `json:"perRecipient,omitempty"`
	}{Summary: in.Summary()}
	if r.FormValue("recipients") == "true" {
		answer.PerRecipient = in.Recipients()
	}
	in.writeJSON(w, answer)
}

func (in *Inbox) apiClear(w http.ResponseWriter, _ *http.Request) {
	if err := in.Clear(); err != nil {
		in.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (in *Inbox) writeJSON(w http.ResponseWriter, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		in.fail(w, fmt.Errorf("encoding an answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}
