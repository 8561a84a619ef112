package facade

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"strconv"
	"strings"
)

// pages are what people see in one language. None of them says anything of the recipient.
type pages struct {
	// ask has a button that unsubscribes, busy one that tries again.
	ask, done, unknown, busy []byte
}

// pageTexts are a page in one language. A page without a button has no form.
type pageTexts struct{ title, text, button string }

var pageLanguages = map[string]struct{ ask, done, unknown, busy pageTexts }{
	"en": {
		ask:     pageTexts{"Unsubscribe?", "Press the button, and you will get no more of these mails.", "Unsubscribe"},
		done:    pageTexts{"You are unsubscribed", "You will get no more of these mails. One that is already on its way may still arrive.", ""},
		unknown: pageTexts{"This link does not work", "It is not complete, or too old. Please use the link of a newer mail, or answer the mail and ask to be unsubscribed.", ""},
		busy:    pageTexts{"That did not work just now", "Nothing has changed yet. Please try again in a minute.", "Unsubscribe"},
	},
	"es": {
		ask:     pageTexts{"¿Darse de baja?", "Pulse el botón y no recibirá más correos como este.", "Darme de baja"},
		done:    pageTexts{"Se ha dado de baja", "No recibirá más correos como este. Aún puede llegar alguno que ya esté en camino.", ""},
		unknown: pageTexts{"Este enlace no funciona", "Está incompleto o es demasiado antiguo. Use el enlace de un correo más reciente, o responda al correo y pida la baja.", ""},
		busy:    pageTexts{"No ha podido ser en este momento", "Todavía no ha cambiado nada. Inténtelo de nuevo dentro de un minuto.", "Darme de baja"},
	},
}

const (
	defaultLanguage = "en"
	// maxAcceptLanguage is how much of the header is read, in bytes.
	maxAcceptLanguage = 256

	pageStyle = "body{font:1.125rem/1.5 sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}" +
		"button{font:inherit;padding:.5rem 1.25rem;color:#fff;background:#0b57d0;border:2px solid #0b57d0;border-radius:.25rem;cursor:pointer}" +
		"button:focus-visible{outline:3px solid #1a1a1a;outline-offset:2px}"
)

// pagePolicy lets a page have its own style and send its form, and nothing else.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
}()

func renderPages() map[string]pages {
	all := make(map[string]pages, len(pageLanguages))
	for language, texts := range pageLanguages {
		all[language] = pages{
			ask: texts.ask.render(language), done: texts.done.render(language), unknown: texts.unknown.render(language),
			busy: texts.busy.render(language),
		}
	}
	return all
}

// render writes a page that needs no script and nothing from elsewhere. Its form is sent to the page's own address, whatever
// a proxy makes of that.
func (t pageTexts) render(language string) []byte {
	title, text := html.EscapeString(t.title), html.EscapeString(t.text)
	form := ""
	if t.button != "" {
		form = "<form method=\"post\">\n<input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">\n<button type=\"submit\">" +
			html.EscapeString(t.button) + "</button>\n</form>\n"
	}
	return []byte("<!DOCTYPE html>\n<html lang=\"" + html.EscapeString(language) + "\">\n<head>\n<meta charset=\"utf-8\">\n" +
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"robots\" content=\"noindex\">\n" +
		"<title>" + title + "</title>\n<style>" + pageStyle + "</style>\n</head>\n<body>\n<main>\n<h1>" + title + "</h1>\n<p>" + text +
		"</p>\n" + form + "</main>\n</body>\n</html>\n")
}

// preferred is the language of the pages that an Accept-Language header (RFC 9110 section 12.5.4) asks for most.
func preferred(accept string) string {
	best, weight := defaultLanguage, 0.0
	for part := range strings.SplitSeq(accept[:min(len(accept), maxAcceptLanguage)], ",") {
		tag, parameter, _ := strings.Cut(part, ";")
		language, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		q := 1.0
		if text, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(parameter)), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(text, 64); err != nil || q < 0 || q > 1 {
				continue
			}
		}
		if _, ok := pageLanguages[language]; ok && q > weight {
			best, weight = language, q
		}
	}
	return best
}
