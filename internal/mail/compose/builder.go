package compose

import (
	netmail "net/mail"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/render"
)

// lookupProfile maps a domain as lists do.
var lookupProfile = idna.Lookup

// builder compiles a content piece by piece.
type builder struct {
	content  *mail.Content
	template *Template
	// pending is a constant that is still growing.
	pending []byte
}

// write appends to the constant that is growing.
func (b *builder) write(text string) { b.pending = append(b.pending, text...) }

func (b *builder) flush() {
	if len(b.pending) > 0 {
		b.add(piece{kind: constant, data: b.pending})
	}
}

// add appends a piece.
func (b *builder) add(p piece) {
	if p.kind != constant {
		b.flush()
	}
	b.pending = nil
	b.template.pieces = append(b.template.pieces, p)
	b.template.size += len(p.data) + 80
	for _, s := range p.segments {
		b.template.size += len(s.data) + 40
	}
}

// field is a header field, until all are in order.
type field struct {
	name  string
	piece piece
}

// header writes the header fields, but for those of the body: those without an address by name, then From, To and
// Reply-To.
func (b *builder) header() error {
	fields := []field{
		{"Date", piece{kind: dateField}},
		{"MIME-Version", piece{data: []byte("MIME-Version: 1.0\r\n")}},
		{"Message-ID", piece{kind: messageIDField}},
		b.subject(),
	}
	own, err := b.extra()
	if err != nil {
		return err
	}
	fields = append(fields, own...)
	given := make(map[string]bool, len(own))
	for _, f := range own {
		given[strings.ToLower(f.name)] = true
	}
	generated, err := b.generated(given)
	if err != nil {
		return err
	}
	fields = append(fields, generated...)
	slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	for _, f := range fields {
		if f.piece.kind == constant {
			b.pending = append(b.pending, f.piece.data...)
		} else {
			b.add(f.piece)
		}
	}
	return b.addresses()
}

func (b *builder) subject() field {
	t := b.template.program.Subject()
	text, ok := t.Constant()
	if !ok {
		return field{"Subject", piece{kind: subjectField, template: t, literals: t.Literals()}}
	}
	line := appendUnstructured([]byte("Subject: "), len("Subject: "), appendClean(nil, text))
	return field{"Subject", piece{data: append(line, crlf...)}}
}

// extra are the additional header fields.
func (b *builder) extra() ([]field, error) {
	headers := b.template.program.Headers()
	fields := make([]field, 0, len(headers))
	seen := make(map[string]struct{}, len(headers))
	for _, h := range headers {
		if err := CheckHeaderName(h.Name); err != nil {
			return nil, err
		}
		key := strings.ToLower(h.Name)
		if _, twice := seen[key]; twice {
			return nil, invalid(h.Name, "is given twice")
		}
		seen[key] = struct{}{}
		text, ok := h.Value.Constant()
		if !ok {
			fields = append(fields, field{h.Name, piece{kind: extraField, name: h.Name, template: h.Value, literals: h.Value.Literals()}})
			continue
		}
		line, err := appendValue(nil, h.Name, appendClean(nil, text))
		if err != nil {
			return nil, err
		}
		line = append(line, crlf...)
		if err := checkLines(line); err != nil {
			return nil, err
		}
		fields = append(fields, field{h.Name, piece{data: line}})
	}
	return fields, nil
}

// appendValue appends an additional header field, without its CRLF. The value is clean.
func appendValue(dst []byte, name string, value []byte) ([]byte, error) {
	dst = append(append(dst, name...), ": "...)
	if isUnsubscribe(name) {
		return appendUnfolded(dst, name, value)
	}
	return appendExtra(dst, name, value)
}

// generated are the fields that the content asks for, unless a header of its own takes their place.
func (b *builder) generated(given map[string]bool) ([]field, error) {
	var fields []field
	if b.content.AutoSubmitted && !given["auto-submitted"] {
		fields = append(fields, field{"Auto-Submitted", piece{data: []byte("Auto-Submitted: auto-generated\r\n")}})
	}
	if b.content.ListID != "" && !given["list-id"] {
		line, err := listID(b.content.ListID, b.content.ListName)
		if err != nil {
			return nil, err
		}
		fields = append(fields, field{"List-Id", piece{data: line}})
	}
	if !given["list-unsubscribe"] && !given["list-unsubscribe-post"] {
		fields = append(fields, field{"List-Unsubscribe", piece{kind: unsubscribeField}})
	}
	return fields, nil
}

// addresses writes From, To and Reply-To.
func (b *builder) addresses() error {
	from, err := asciiAddress("From", b.content.From.Address)
	if err != nil {
		return err
	}
	name := appendDisplayName(nil, b.content.From.Name)
	b.template.from = mail.Address{Name: string(name), Address: from}
	b.template.utf8 = !mail.IsASCII(from)
	b.pending = append(appendAddress(append(b.pending, "From: "...), len("From: "), name, from), crlf...)
	b.add(piece{kind: toField})
	if len(b.content.ReplyTo) == 0 {
		return nil
	}
	line := []byte("Reply-To: ")
	for i, text := range b.content.ReplyTo {
		parsed, err := netmail.ParseAddress(text)
		if err != nil {
			return invalid("Reply-To", "holds something that is not an address")
		}
		address, err := asciiAddress("Reply-To", parsed.Address)
		if err != nil {
			return err
		}
		b.template.utf8 = b.template.utf8 || !mail.IsASCII(address)
		column := lastColumn(line, 0, 0)
		if i > 0 {
			line = append(line, ',')
			if column += 2; column+len(address) > foldedLine-4 {
				line = append(line, crlf...)
				column = 1
			}
			line = append(line, ' ')
		}
		line = appendAddress(line, column, appendDisplayName(nil, parsed.Name), address)
	}
	b.pending = append(append(b.pending, line...), crlf...)
	return nil
}

// encoding is how a body is transferred.
type encoding string

const (
	encodingQP     encoding = "quoted-printable"
	encodingBase64 encoding = "base64"
)

// encodingOf is quoted-printable, which leaves what is readable readable, unless base64 is shorter: an escaped octet
// takes three, base64 takes four for three. Neither is ever 8 bit, so every relay takes the message. Of a template, its
// constant texts decide.
func encodingOf(t *render.Template) encoding {
	escaped, size := 0, 0
	for _, text := range t.Literals() {
		size += len(text)
		escaped += strings.Count(text, "=")
		for i := range len(text) {
			escaped += int(text[i] >> 7)
		}
	}
	if escaped*6 > size {
		return encodingBase64
	}
	return encodingQP
}
