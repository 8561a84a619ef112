package compose

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/render"
)

// Template is a content that was compiled for many recipients. It is immutable, and safe for concurrent use.
type Template struct {
	program *render.Program
	from    mail.Address
	// utf8 tells that From or Reply-To holds an address in UTF-8.
	utf8     bool
	oneClick bool
	pieces   []piece
	// images are the content ids of the attachments that belong to the HTML.
	images []string
	// tail is what all mails end with, where that is long; the last piece ends before it.
	tail mail.Tail
	// size is about what a mail takes without the tail.
	size int
}

// minTail is the shortest end of a mail, in octets, that is worth being shared.
const minTail = 64 << 10

// pieceKind is what a piece of a message is.
type pieceKind uint8

const (
	constant pieceKind = iota
	dateField
	messageIDField
	subjectField
	extraField
	unsubscribeField
	toField
	quotedPrintable // a body
	base64Body
)

// piece is a run of a message, in order: either constant, or made for each recipient.
type piece struct {
	kind pieceKind
	data []byte
	// name is that of an extra header field.
	name     string
	template *render.Template
	segments []segment
	// literals are the template's constant texts, with CRLF in a body.
	literals []string
}

// NewTemplate compiles a content. Errors are of type *InvalidError; where a template is at fault, they wrap one of
// package render's.
func NewTemplate(content mail.Content) (*Template, error) {
	program, err := render.Compile(render.Templates{
		Subject: content.Subject, Text: content.Text, HTML: content.HTML, Headers: content.Headers,
		Verbatim: !content.Mustache, DeriveText: content.DeriveText,
	})
	if err != nil {
		return nil, rendering(err)
	}
	b := &builder{content: &content, template: &Template{program: program, oneClick: content.OneClick, pieces: make([]piece, 0, 16)}}
	if err := b.header(); err != nil {
		return nil, err
	}
	if err := b.body(); err != nil {
		return nil, err
	}
	b.flush()
	b.template.shareTail()
	return b.template, nil
}

// shareTail cuts what is the same for all mails off their end, from the first whole line on: of attachments, all.
func (t *Template) shareTail() {
	last := &t.pieces[len(t.pieces)-1]
	line := bytes.Index(last.data, crlf) + len(crlf)
	if last.kind != constant || len(last.data)-line < minTail {
		return
	}
	if tail, ok := mail.NewTail(last.data[line:]); ok {
		t.tail, last.data = tail, last.data[:line:line]
		t.size -= tail.Len()
	}
}

// Program is the compiled templates, to ask for their variables or to check a recipient.
func (t *Template) Program() *render.Program { return t.program }

// From is the sender, its domain in A-labels: what goes into the envelope and into derived Message-IDs.
func (t *Template) From() mail.Address { return t.from }

// state is what composing one mail needs beside the buffer.
type state struct {
	values render.Values
	qp     qpWriter
	text   textWriter
	// name and clean are texts on their way into a header field.
	name, clean []byte
	// field is a header field that is only checked.
	field []byte
}

var states = sync.Pool{New: func() any { return new(state) }}

// Tail is what all mails end with, none where that is short: AppendOwn leaves it off.
func (t *Template) Tail() mail.Tail { return t.tail }

// Append composes the mail to one recipient into a buffer that the caller reuses. Errors are of type *InvalidError, and
// permanent; where a variable is at fault, they wrap one of package render's. It allocates nothing where the buffer is
// large enough.
func (t *Template) Append(dst []byte, to Recipient) (Mail, error) {
	m, err := t.AppendOwn(slices.Grow(dst, t.size+t.tail.Len()), to)
	if err == nil {
		m.Raw = append(m.Raw, t.tail.Bytes()...)
	}
	return m, err
}

// AppendOwn is Append without the template's Tail: Mail.Raw ends with the line before it.
func (t *Template) AppendOwn(dst []byte, to Recipient) (Mail, error) {
	address, err := asciiAddress("To", to.Address)
	if err != nil {
		return Mail{}, err
	}
	to.Address = address
	s := states.Get().(*state) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer s.release()
	s.values.Bind(t.program, to.variables())

	raw := slices.Grow(dst, t.size)
	for i := range t.pieces {
		if p := &t.pieces[i]; p.kind == constant {
			raw = append(raw, p.data...)
		} else if raw, err = t.append(raw, p, s, &to); err != nil {
			return Mail{}, err
		}
	}
	if !bytes.HasSuffix(raw, crlf) {
		raw = append(raw, '\r', '\n')
	}
	return Mail{
		Raw: raw, Envelope: mail.Envelope{From: t.from.Address, To: address},
		SMTPUTF8: t.utf8 || !mail.IsASCII(address),
	}, nil
}

// Check reports what Append would fail with for a recipient, but for Message-ID and Date, which may be missing; also for
// UnsubscribeURL, if it is not known yet, any https URI will do. It takes about a microsecond, and allocates nothing
// unless it fails.
func (t *Template) Check(to Recipient) error {
	address, err := asciiAddress("To", to.Address)
	if err != nil {
		return err
	}
	to.Address = address
	s := states.Get().(*state) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer s.release()
	s.values.Bind(t.program, to.variables())
	for i := range t.pieces {
		p := &t.pieces[i]
		switch p.kind {
		case constant, dateField, messageIDField:
		case quotedPrintable, base64Body:
			if err := p.template.Execute(&s.values, render.Discard); err != nil {
				return rendering(err)
			}
		default:
			field, err := t.append(s.field[:0], p, s, &to)
			if err != nil {
				return err
			}
			s.field = field
		}
	}
	return nil
}

func (s *state) release() {
	s.values.Reset()
	const most = 1 << 20 // a buffer that one huge mail has grown is not kept
	if cap(s.text.buf) > most {
		s.text.buf = nil
	}
	states.Put(s)
}

// append appends one piece that is made for the recipient.
func (t *Template) append(dst []byte, p *piece, s *state, to *Recipient) ([]byte, error) {
	switch p.kind {
	case quotedPrintable:
		s.qp.begin(dst, p.segments)
		err := p.template.Execute(&s.values, &s.qp)
		dst = s.qp.end()
		if err != nil {
			return nil, rendering(err)
		}
		return dst, nil
	case base64Body:
		if err := s.render(p, true); err != nil {
			return nil, err
		}
		return appendBase64(dst, s.text.buf), nil
	default:
		from := len(dst)
		dst, err := t.appendField(dst, p, s, to)
		if err != nil || len(dst) == from {
			return dst, err
		}
		dst = append(dst, '\r', '\n')
		return dst, checkLines(dst[from:])
	}
}

// appendField appends a header field without its CRLF; nothing, where the recipient has none.
func (t *Template) appendField(dst []byte, p *piece, s *state, to *Recipient) ([]byte, error) {
	switch p.kind {
	case dateField:
		if to.Date.IsZero() {
			return nil, invalid("Date", "is missing")
		}
		return to.Date.UTC().AppendFormat(append(dst, "Date: "...), time.RFC1123Z), nil
	case messageIDField:
		if !validMessageID(to.MessageID) {
			return nil, invalid("Message-ID", "is not of the form left@right")
		}
		return append(append(append(dst, "Message-ID: <"...), to.MessageID...), '>'), nil
	case toField:
		s.name = appendDisplayName(s.name[:0], to.Name)
		return appendAddress(append(dst, "To: "...), len("To: "), s.name, to.Address), nil
	case unsubscribeField:
		return t.appendUnsubscribe(dst, to)
	}
	if err := s.render(p, false); err != nil {
		return nil, err
	}
	s.clean = appendClean(s.clean[:0], s.text.buf)
	if p.kind == subjectField {
		return appendUnstructured(append(dst, "Subject: "...), len("Subject: "), collapseSpaces(s.clean)), nil
	}
	return appendValue(dst, p.name, s.clean)
}

// render renders a piece's template into the state's text.
func (s *state) render(p *piece, lines bool) error {
	s.text = textWriter{buf: s.text.buf[:0], literals: p.literals, lines: lines}
	err := p.template.Execute(&s.values, &s.text)
	s.text.literals = nil
	if err != nil {
		return rendering(err)
	}
	return nil
}

// checkLines is the last gate of what is made of a recipient's data: whatever it was composed of, it is one header field,
// or two, with CRLF line ends only and no line that is too long.
func checkLines(field []byte) error {
	for first := true; len(field) > 0; first = false {
		end := bytes.IndexByte(field, '\n')
		if end < 1 || field[end-1] != '\r' || bytes.IndexByte(field[:end-1], '\r') >= 0 {
			return invalid("headers", "hold a bare CR or LF")
		}
		if !first && field[0] != ' ' && !bytes.HasPrefix(field, oneClickPrefix) {
			return invalid("headers", "hold a line break")
		}
		if end-1 > maxLine {
			return invalid("headers", "hold a line of more than 998 octets")
		}
		field = field[end+1:]
	}
	return nil
}
