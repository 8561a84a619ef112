package compose

import (
	"bytes"
	"encoding/base64"
	"slices"
	"unicode/utf8"

	"github.com/cartero-mail/cartero/internal/render"
)

// softLine is where a line of quoted-printable is broken: 76 with the = of the soft break (RFC 2045 section 6.7).
const softLine = 75

// base64Line is how many octets make a line of 76 in base64.
const base64Line = 57

// keptInText and keptInHTML are the octets that quoted-printable leaves as they are, in a text and in a value that HTML
// must not take for markup. A blank at the end of a line is seen to when the line ends.
var keptInText, keptInHTML = kept(false), kept(true)

func kept(escape bool) (table [256]bool) {
	for c := byte(' '); c <= '~'; c++ {
		table[c] = c != '=' && (!escape || render.Escaped(c) == "")
	}
	table['\t'] = true
	return table
}

// segment is a constant text in quoted-printable, as if it began a line.
type segment struct {
	data []byte
	// first is the length of its first line, last that of what follows its last line break.
	first, last int
	breaks      bool
}

func newSegment(text string) segment {
	var w qpWriter
	w.write(text, false)
	s := segment{data: w.buf, first: len(w.buf), last: len(w.buf) - w.line}
	if i := bytes.Index(w.buf, crlf); i >= 0 {
		s.first, s.breaks = i, true
	}
	return s
}

var crlf = []byte("\r\n")

// qpWriter appends quoted-printable to a buffer. It is the render.Sink of a body: constants are copied, with a soft
// line break before one that does not fit on what is left of the line; only values are encoded.
type qpWriter struct {
	buf []byte
	// line is where the current line begins in buf.
	line     int
	segments []segment
}

// begin starts a body at the end of buf, which is the beginning of a line.
func (w *qpWriter) begin(buf []byte, segments []segment) {
	w.buf, w.line, w.segments = buf, len(buf), segments
}

// end finishes the body and returns the buffer.
func (w *qpWriter) end() []byte {
	w.guardBlank()
	buf := w.buf
	w.buf, w.segments = nil, nil
	return buf
}

// Literal implements render.Sink.
func (w *qpWriter) Literal(index int) {
	s := &w.segments[index]
	switch column := len(w.buf) - w.line; {
	case s.first == 0 && s.breaks:
		w.guardBlank()
	case column > 0 && column+s.first > softLine:
		w.softBreak()
	}
	w.buf = append(w.buf, s.data...)
	if s.breaks {
		w.line = len(w.buf) - s.last
	}
}

// Value implements render.Sink.
func (w *qpWriter) Value(value string, escape bool) { w.write(value, escape) }

// write encodes a text: every line end becomes CRLF, what is not UTF-8 becomes U+FFFD.
func (w *qpWriter) write(text string, escape bool) {
	table := &keptInText
	if escape {
		table = &keptInHTML
	}
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case table[c]:
			end := i + 1
			for end < len(text) && table[text[end]] {
				end++
			}
			w.keep(text[i:end])
			i = end
		case c == '\r' || c == '\n':
			if i++; c == '\r' && i < len(text) && text[i] == '\n' {
				i++
			}
			w.guardBlank()
			w.buf = append(w.buf, '\r', '\n')
			w.line = len(w.buf)
		case c >= utf8.RuneSelf:
			i += w.encodeRune(text[i:])
		case escape && render.Escaped(c) != "":
			w.write(render.Escaped(c), false)
			i++
		default:
			w.encode(c)
			i++
		}
	}
}

// keep copies octets that stay as they are.
func (w *qpWriter) keep(run string) {
	for {
		room := softLine - (len(w.buf) - w.line)
		if len(run) <= room {
			w.buf = append(w.buf, run...)
			return
		}
		w.buf = append(w.buf, run[:max(room, 0)]...)
		run = run[max(room, 0):]
		w.softBreak()
	}
}

const upperHex = "0123456789ABCDEF"

// encode writes one octet as =XX.
func (w *qpWriter) encode(c byte) {
	if len(w.buf)-w.line+3 > softLine {
		w.softBreak()
	}
	w.buf = append(w.buf, '=', upperHex[c>>4], upperHex[c&15])
}

// encodeRune writes the character that a text begins with, on one line, and returns its length in the text.
func (w *qpWriter) encodeRune(text string) int {
	r, size := utf8.DecodeRuneInString(text)
	if r == utf8.RuneError && size == 1 {
		for size < len(text) && text[size] >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(text[size:]); r != utf8.RuneError || n > 1 {
				break
			}
			size++
		}
		w.encodeRune("\uFFFD")
		return size
	}
	if len(w.buf)-w.line+3*size > softLine {
		w.softBreak()
	}
	for i := range size {
		w.buf = append(w.buf, '=', upperHex[text[i]>>4], upperHex[text[i]&15])
	}
	return size
}

func (w *qpWriter) softBreak() {
	w.buf = append(w.buf, '=', '\r', '\n')
	w.line = len(w.buf)
}

// guardBlank encodes a blank that would be the last octet of its line, where relays remove it.
func (w *qpWriter) guardBlank() {
	if len(w.buf) == w.line {
		return
	}
	if last := w.buf[len(w.buf)-1]; last == ' ' || last == '\t' {
		w.buf = w.buf[:len(w.buf)-1]
		w.encode(last)
	}
}

// appendBase64 appends octets in base64, in lines of 76, the last without its line break.
func appendBase64(dst, src []byte) []byte {
	lines := len(src) / base64Line
	dst = slices.Grow(dst, base64.StdEncoding.EncodedLen(len(src))+2*lines+2)
	for len(src) > base64Line {
		n := len(dst)
		dst = dst[:n+78]
		base64.StdEncoding.Encode(dst[n:], src[:base64Line])
		dst[n+76], dst[n+77] = '\r', '\n'
		src = src[base64Line:]
	}
	return base64.StdEncoding.AppendEncode(dst, src)
}

// textWriter is the render.Sink of what is encoded as a whole: a header field, or a body in base64.
type textWriter struct {
	buf      []byte
	literals []string
	// lines makes every line end CRLF, and the text valid UTF-8.
	lines bool
}

// Literal implements render.Sink. The literals are as lines wants them.
func (w *textWriter) Literal(index int) { w.buf = append(w.buf, w.literals[index]...) }

// Value implements render.Sink.
func (w *textWriter) Value(value string, escape bool) {
	if w.lines {
		value = normalize(value)
	}
	if escape {
		w.buf = render.AppendEscaped(w.buf, value)
		return
	}
	w.buf = append(w.buf, value...)
}
