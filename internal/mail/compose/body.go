package compose

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/cartero-mail/cartero/internal/render"
)

// entity is a MIME entity: a leaf with content, or a multipart.
type entity struct {
	// header are the fields that describe a leaf.
	header string
	// template is the content of a body; data that of an attachment, in base64 already.
	template *render.Template
	encoding encoding
	data     []byte
	// subtype and parts are those of a multipart; parameter is one more of its content type's.
	subtype, parameter string
	parts              []entity
}

// body writes the entity of the whole message:
//
//	mixed( alternative( text, related( html, images… ) ), attachments… )
//
// where each level that would hold one part is left out.
func (b *builder) body() error {
	text, html := b.template.program.Text(), b.template.program.HTML()
	if text == nil && html == nil {
		return invalid("body", "is empty: text, html or both must be set")
	}
	images, files, err := b.attachments(html != nil)
	if err != nil {
		return err
	}
	var alternatives []entity
	if text != nil {
		alternatives = append(alternatives, bodyOf("text/plain", text))
	}
	if html != nil {
		related := append([]entity{bodyOf("text/html", html)}, images...)
		alternatives = append(alternatives, together("related", "; type=\"text/html\"", related))
	}
	whole := append([]entity{together("alternative", "", alternatives)}, files...)
	b.entity(together("mixed", "", whole))
	return nil
}

// together is an entity of several parts, or the only one itself.
func together(subtype, parameter string, parts []entity) entity {
	if len(parts) == 1 {
		return parts[0]
	}
	return entity{subtype: subtype, parameter: parameter, parts: parts}
}

func bodyOf(media string, t *render.Template) entity {
	e := encodingOf(t)
	return entity{
		header:   "Content-Transfer-Encoding: " + string(e) + "\r\nContent-Type: " + media + "; charset=UTF-8\r\n",
		template: t, encoding: e,
	}
}

// entity writes an entity with its header.
func (b *builder) entity(e entity) {
	if len(e.parts) > 0 {
		boundary := b.boundary(e.subtype)
		b.write("Content-Type: multipart/" + e.subtype + e.parameter + ";\r\n boundary=\"" + boundary + "\"\r\n\r\n")
		for _, part := range e.parts {
			b.write("--" + boundary + "\r\n")
			b.entity(part)
			b.write("\r\n")
		}
		b.write("--" + boundary + "--\r\n")
		return
	}
	b.write(e.header)
	b.write("\r\n")
	if e.template == nil {
		b.pending = append(b.pending, e.data...)
		return
	}
	b.leaf(e.template, e.encoding)
}

// leaf writes a body: encoded at once where it is the same for all.
func (b *builder) leaf(t *render.Template, encoding encoding) {
	text, isConstant := t.Constant()
	switch {
	case isConstant && encoding == encodingQP:
		var w qpWriter
		w.begin(slices.Grow(b.pending, len(text)+len(text)/8+64), nil)
		w.write(text, false)
		b.pending = w.end()
	case isConstant:
		b.pending = appendBase64(b.pending, []byte(normalize(text)))
	case encoding == encodingQP:
		p := piece{kind: quotedPrintable, template: t}
		for _, literal := range t.Literals() {
			p.segments = append(p.segments, newSegment(literal))
		}
		b.add(p)
	default:
		p := piece{kind: base64Body, template: t}
		for _, literal := range t.Literals() {
			p.literals = append(p.literals, normalize(literal))
			b.template.size += len(literal) * 3 / 2
		}
		b.add(p)
	}
}

// boundary is the same for all mails of a content. That =_ occurs neither in quoted-printable nor in base64 proves that
// no content holds it, whatever the variables are (RFC 2045 section 6.7, note 5).
func (b *builder) boundary(subtype string) string {
	sum := sha256.Sum256([]byte(b.content.From.Address + "\x00" + b.content.ListID))
	return "=_" + subtype + "-" + hex.EncodeToString(sum[:8])
}
