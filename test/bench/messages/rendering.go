package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/cbroglie/mustache"
	gomail "github.com/wneessen/go-mail"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/compose"
)

// What is meant: a mail of 4 kB of HTML with five variables is rendered in 10 µs with two allocations.
const (
	targetRender      = 10
	targetAllocations = 2
)

const (
	renderWindow = 300 * time.Millisecond
	paragraph    = "<p>Un párrafo con <b>texto</b> y un <a href=\"https://x.example/\">enlace</a>.</p>\n"
)

// mustacheHTML has five variables; goHTML is the same for html/template.
var (
	mustacheHTML = "<!DOCTYPE html><html><body>\n<h1>¡Hola {{name}}!</h1>\n<p>Tu plan {{plan}} en {{city}} vence el {{date}}.</p>\n" +
		strings.Repeat(paragraph, 48) + "<p><a href=\"https://x.example/u/{{token}}\">Darse de baja</a></p>\n</body></html>\n"
	goHTML = strings.ReplaceAll(mustacheHTML, "{{", "{{.")
)

// recipient's variables differ from mail to mail, as they would.
func variables(n int) map[string]string {
	names := [...]string{"Ana Núñez", "Eva", "Bartolomé de las Casas", "O'Neill & Co."}
	return map[string]string{"name": names[n%len(names)], "plan": "Pro & más", "city": "Cádiz", "date": "1 de enero", "token": "0123456789abcdef"}
}

// side is one way to make a mail: it returns its length.
type side struct {
	name string
	// targets are those of time and allocations; 0 for none.
	time, allocations float64
	mail              func(n int, variables map[string]string) (int, error)
}

// measureRendering takes turns: each round composes the same mails on each side.
func measureRendering(ctx context.Context, s settings, progress io.Writer) ([]row, error) {
	all, err := sides()
	if err != nil {
		return nil, err
	}
	recipients := make([]map[string]string, 64)
	for i := range recipients {
		recipients[i] = variables(i)
	}
	times, allocations := make([][]float64, len(all)), make([][]float64, len(all))
	for round := range s.Rounds {
		fmt.Fprintf(progress, "rendering: round %d of %d\n", round+1, s.Rounds)
		for i, one := range all {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			micros, allocated, err := timeOf(one, recipients)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", one.name, err)
			}
			times[i], allocations[i] = append(times[i], micros), append(allocations[i], allocated)
		}
	}
	var table []row
	for i, one := range all {
		table = append(table,
			newRow(one.name, "µs of processor time a mail", one.time, times[i]),
			newRow(one.name+": allocations", "a mail", one.allocations, allocations[i]))
	}
	for i := 1; i < len(all); i++ {
		ratios := make([]float64, s.Rounds)
		for round := range ratios {
			ratios[round] = times[i][round] / times[0][round]
		}
		table = append(table, newRow(all[i].name+" to "+all[0].name, "times as long", 0, ratios))
	}
	return table, nil
}

// timeOf is the processor time in microseconds, of the garbage collector too, and the allocations of a mail.
func timeOf(one side, recipients []map[string]string) (micros, allocations float64, err error) {
	if _, err := one.mail(0, recipients[0]); err != nil { // what is made once is not counted
		return 0, 0, err
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, busy := time.Now(), timeUsed()
	n := 0
	for time.Since(began) < renderWindow {
		for range 64 {
			if length, err := one.mail(n, recipients[n%len(recipients)]); err != nil || length < len(mustacheHTML) {
				return 0, 0, errors.Join(err, fmt.Errorf("a mail of %d octets", length))
			}
			n++
		}
	}
	busy = timeUsed() - busy
	runtime.ReadMemStats(&after)
	return float64(busy.Nanoseconds()) / 1e3 / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n), nil
}

// timeUsed is the processor time that the process has used.
func timeUsed() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

var (
	sender = mail.Address{Name: "Noticias", Address: "news@sender.example"}
	date   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

const subject = "Novedades de noviembre"

// sides are Cartero, with and without a template, and the peers.
func sides() ([]side, error) {
	withTemplate, err := cartero(mail.Content{From: sender, Subject: subject, HTML: mustacheHTML, Mustache: true})
	if err != nil {
		return nil, err
	}
	verbatim, err := cartero(mail.Content{From: sender, Subject: subject, HTML: mustacheHTML})
	if err != nil {
		return nil, err
	}
	parsed, err := mustache.ParseString(mustacheHTML)
	if err != nil {
		return nil, err
	}
	standard, err := template.New("html").Option("missingkey=error").Parse(goHTML)
	if err != nil {
		return nil, err
	}
	return []side{
		{"Cartero", targetRender, targetAllocations, withTemplate},
		{"Cartero, no template", targetRender, targetAllocations, verbatim},
		{"Cartero, compiled for each mail", 0, 0, eachAnew()},
		{"html/template, mime/quotedprintable", 0, 0, naive(func(w io.Writer, v map[string]string) error { return standard.Execute(w, v) })},
		{"cbroglie/mustache, mime/quotedprintable", 0, 0, naive(func(w io.Writer, v map[string]string) error { return parsed.FRender(w, v) })},
		{"cbroglie/mustache, go-mail", 0, 0, withGoMail(parsed)},
	}, nil
}

// cartero composes as the worker does: compiled once, into one buffer.
func cartero(content mail.Content) (func(int, map[string]string) (int, error), error) {
	t, err := compose.NewTemplate(content)
	if err != nil {
		return nil, err
	}
	var buffer []byte
	return func(_ int, v map[string]string) (int, error) {
		m, err := t.Append(buffer[:0], compose.Recipient{
			Address: "ana@receiver.example", Name: v["name"], Variables: v, MessageID: "0123abcd@sender.example", Date: date,
		})
		if err != nil {
			return 0, err
		}
		buffer = m.Raw
		return len(m.Raw), nil
	}, nil
}

// eachAnew composes as for a single mail, without a template.
func eachAnew() func(int, map[string]string) (int, error) {
	var buffer []byte
	return func(_ int, v map[string]string) (int, error) {
		raw, err := compose.Append(buffer[:0], mail.Message{
			From: sender, To: mail.Address{Name: v["name"], Address: "ana@receiver.example"}, Subject: subject, HTML: mustacheHTML,
			MessageID: "0123abcd@sender.example", Date: date,
		})
		buffer = raw
		return len(raw), err
	}
}

// naive writes the header with fmt, and the body through the standard library's encoder, into one buffer.
func naive(render func(io.Writer, map[string]string) error) func(int, map[string]string) (int, error) {
	var buffer bytes.Buffer
	return func(_ int, v map[string]string) (int, error) {
		buffer.Reset()
		to := netmail.Address{Name: v["name"], Address: "ana@receiver.example"}
		from := netmail.Address{Name: sender.Name, Address: sender.Address}
		fmt.Fprintf(&buffer, "Date: %s\r\nMIME-Version: 1.0\r\nMessage-ID: <%s>\r\nSubject: %s\r\nFrom: %s\r\nTo: %s\r\n"+
			"Content-Transfer-Encoding: quoted-printable\r\nContent-Type: text/html; charset=UTF-8\r\n\r\n",
			date.Format(time.RFC1123Z), "0123abcd@sender.example", mime.QEncoding.Encode("UTF-8", subject), from.String(), to.String())
		body := quotedprintable.NewWriter(&buffer)
		if err := render(body, v); err != nil {
			return 0, err
		}
		return buffer.Len(), body.Close()
	}
}

// withGoMail renders with the library and composes with the other.
func withGoMail(parsed *mustache.Template) func(int, map[string]string) (int, error) {
	var buffer bytes.Buffer
	return func(n int, v map[string]string) (int, error) {
		buffer.Reset()
		text, err := parsed.Render(v)
		if err != nil {
			return 0, err
		}
		m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
		m.FromMailAddress(&netmail.Address{Name: sender.Name, Address: sender.Address})
		m.ToMailAddress(&netmail.Address{Name: v["name"], Address: "ana@receiver.example"})
		m.Subject(subject)
		m.SetDateWithValue(date)
		m.SetMessageIDWithValue(base64.RawURLEncoding.EncodeToString([]byte{byte(n), byte(n >> 8)}) + "@sender.example")
		m.SetBodyString(gomail.TypeTextHTML, text)
		_, err = m.WriteTo(&buffer)
		return buffer.Len(), err
	}
}
