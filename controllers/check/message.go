package check

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/manifest"
)

// Sizes beyond which a mail does not arrive as it was meant, or an object not at all, in bytes.
const (
	// clippedHTML is where Gmail cuts a message off and shows a link instead of the rest.
	clippedHTML = 102 << 10
	// refusedMail is what many servers take at most.
	refusedMail = 10_000_000
	// appliedObject is the limit of all annotations of an object, one of which is all of it after `kubectl apply`.
	appliedObject = 256 << 10
	// storedBundle is the limit of a ConfigMap or Secret.
	storedBundle = 1 << 20
)

func (s *subject) checkSize() {
	if n := len(s.content.HTML); n > clippedHTML {
		path, _ := s.templatePath("html")
		s.report(Warning, RuleLargeMessage, path, "the HTML has %d bytes: Gmail cuts it off behind 102 KiB, and with it what stands at the end, such as a link for unsubscribing", n)
	}
	if n := s.summary.MessageBytes; n > refusedMail {
		s.report(Warning, RuleLargeMessage, "spec.message", "a mail has %d bytes: many servers refuse mails of more than 10 MB; link to the files instead", n)
	}
}

// checkMessage warns of what is allowed and rarely meant.
func (s *subject) checkMessage() {
	message, spec := s.object.Spec.Message, s.object.Spec
	if message.From == nil {
		s.report(Note, RuleDefaultSender, "spec.message.from", "is not set: the operator's sender is used (SMTP_FROM), and if it has none, the campaign stalls")
	}
	switch {
	case spec.Category == v1alpha1.CategoryTransactional:
	case spec.Unsubscribe == nil:
		s.report(Note, RuleUnsubscribe, "spec", "unsubscribe is not set: mails have List-Unsubscribe only where the operator has an address for it (UNSUBSCRIBE_URL)")
	}
	if message.Engine != v1alpha1.EngineMustache {
		for field, text := range map[string]string{"subject": s.content.Subject, "text": s.content.Text, "html": s.content.HTML} {
			if line, column, found := placeOf(text, variable); found {
				p, path := s.inTemplate(field, line, column)
				s.findings = append(s.findings, at(p, Warning, RuleNotATemplate, path,
					"looks like a template and is sent as it is: set spec.message.engine to Mustache"))
			}
		}
	}
	s.checkImages()
}

var (
	variable  = regexp.MustCompile(`\{\{[#^&{]?\s*[A-Za-z_][\w.]*\s*\}?\}\}`)
	contentID = regexp.MustCompile(`(?i)["'(]cid:([A-Za-z0-9._+@-]+)`)
	imageURL  = regexp.MustCompile(`(?is)<img\b[^>]*?\ssrc\s*=\s*["']([^"']*)["']`)
)

// placeOf is the line and column of the first match.
func placeOf(text string, what *regexp.Regexp) (line, column int, found bool) {
	match := what.FindStringIndex(text)
	if match == nil {
		return 0, 0, false
	}
	line, column = lineColumn(text, match[0])
	return line, column, true
}

func lineColumn(text string, offset int) (line, column int) {
	before := text[:offset]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, len([]rune(before[start:])) + 1
}

// checkImages looks for images that would not be shown.
func (s *subject) checkImages() {
	html := s.content.HTML
	if html == "" {
		return
	}
	var shown []string
	warn := func(severity Severity, offset int, format string, args ...any) {
		line, column := lineColumn(html, offset)
		p, path := s.inTemplate("html", line, column)
		s.findings = append(s.findings, at(p, severity, RuleImageNotShown, path, format, args...))
	}
	declared := s.declaredImages()
	for _, match := range contentID.FindAllStringSubmatchIndex(html, -1) {
		id := html[match[2]:match[3]]
		if shown = append(shown, id); !slices.Contains(declared, id) {
			warn(Warning, match[0]+1, "the image cid:%s is not shown: no entry of spec.message.attachments has this contentID", id)
		}
	}
	embedded := false
	for _, match := range imageURL.FindAllStringSubmatchIndex(html, -1) {
		url := strings.ToLower(strings.TrimSpace(html[match[2]:match[3]]))
		switch {
		case strings.HasPrefix(url, "data:") && !embedded:
			embedded = true
			warn(Note, match[2], "Gmail and Outlook do not show images in data: URLs; attach them with a contentID instead")
		case strings.HasPrefix(url, "data:"), strings.HasPrefix(url, "cid:"), strings.HasPrefix(url, "https:"), strings.HasPrefix(url, "http:"),
			strings.HasPrefix(url, "{{"):
		default:
			warn(Warning, match[2], "the image is not shown: its address must begin with https:// or cid:")
		}
	}
	for i, id := range declared {
		if id != "" && !slices.Contains(shown, id) {
			s.report(Warning, RuleImageNotShown, attachmentPath(i)+".contentID",
				"the HTML does not show it: write <img src=\"cid:%s\">, or remove contentID to attach the file", id)
		}
	}
}

// declaredImages are the content ids of the manifest's attachments, also of those that are not among the files; empty for
// a file.
func (s *subject) declaredImages() []string {
	var ids []string
	spec, _ := s.document.Object["spec"].(map[string]any)
	message, _ := spec["message"].(map[string]any)
	attachments, _ := message["attachments"].([]any)
	for _, attachment := range attachments {
		fields, _ := attachment.(map[string]any)
		id, _ := fields["contentID"].(string)
		ids = append(ids, id)
	}
	return ids
}

// checkObject warns of an object that `kubectl apply` can't apply.
func checkObject(d *manifest.Document) []Finding {
	text, err := json.Marshal(d.Object)
	if err != nil || len(text) <= appliedObject {
		return nil
	}
	return []Finding{at(d.Position(""), Warning, RuleTooLarge, "",
		"the object has %d bytes, too many for `kubectl apply`, which keeps a copy in an annotation of at most 256 KiB: use `kubectl apply --server-side`, "+
			"or put bodies into ConfigMaps", len(text))}
}

func checkBundle(b *manifest.Bundle) []Finding {
	n := b.Size()
	switch {
	case n > storedBundle:
		return []Finding{at(b.Position, Error, RuleTooLarge, "", "the %s %q has %d bytes, and may have 1 MiB: use urlRef for large lists, or gzip", b.Kind, b.Name, n)}
	case n > appliedObject:
		return []Finding{at(b.Position, Warning, RuleTooLarge, "",
			"the %s %q has %d bytes, too many for `kubectl apply`: use `kubectl apply --server-side`, or gzip", b.Kind, b.Name, n)}
	default:
		return nil
	}
}
