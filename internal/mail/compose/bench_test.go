package compose

import (
	"strings"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
)

// newsletter is a template of 4 kB of HTML with five variables.
func newsletter() mail.Content {
	html := "<!DOCTYPE html><html><body>\n<h1>¡Hola {{name}}{{^name}}amigo{{/name}}!</h1>\n<p>Tu plan {{plan}} en {{city}} vence el {{date}}.</p>\n" +
		strings.Repeat("<p>Un párrafo con <b>texto</b> y un <a href=\"https://x.example/\">enlace</a>.</p>\n", 48) +
		"<p><a href=\"{{unsubscribeURL}}\">Darse de baja</a></p>\n</body></html>\n"
	return mail.Content{
		From: mail.Address{Name: "Noticias", Address: "news@sender.example"}, Subject: "Novedades para {{name}}", HTML: html,
		Mustache: true, OneClick: true, ListID: "news.sender.example", Headers: map[string]string{"X-Campaign": "spring"},
	}
}

func newRecipient() Recipient {
	return Recipient{
		Address: "ana@receiver.example", Name: "Ana Núñez", MessageID: "0123abcd@sender.example",
		Date:           time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		UnsubscribeURL: "https://x.example/u/0123456789abcdef",
		Variables:      map[string]string{"plan": "Pro & más", "city": "Cádiz", "date": "1 de enero"},
	}
}

func BenchmarkRenderTemplate(b *testing.B) {
	content := newsletter()
	b.Logf("%d octets of HTML", len(content.HTML))
	benchmark(b, content)
}

func BenchmarkRenderTemplateWithText(b *testing.B) {
	content := newsletter()
	content.DeriveText = true
	benchmark(b, content)
}

func BenchmarkRenderVerbatim(b *testing.B) {
	content := newsletter()
	content.Mustache = false
	benchmark(b, content)
}

func BenchmarkRenderBase64(b *testing.B) {
	content := newsletter()
	content.HTML = "<p>{{name}} {{plan}} {{city}} {{date}} {{unsubscribeURL}}</p>\n" + strings.Repeat("<p>こんにちは世界。</p>\n", 130)
	benchmark(b, content)
}

func benchmark(b *testing.B, content mail.Content) {
	b.Helper()
	template, err := NewTemplate(content)
	if err != nil {
		b.Fatal(err)
	}
	to := newRecipient()
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		m, err := template.Append(buffer[:0], to)
		if err != nil {
			b.Fatal(err)
		}
		buffer = m.Raw
	}
	b.SetBytes(int64(len(buffer)))
}

func BenchmarkRenderCheck(b *testing.B) {
	template, err := NewTemplate(newsletter())
	if err != nil {
		b.Fatal(err)
	}
	to := newRecipient()
	b.ReportAllocs()
	for b.Loop() {
		if err := template.Program().Check(to.variables()); err != nil {
			b.Fatal(err)
		}
	}
}
