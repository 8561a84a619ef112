package recipients

import (
	"bytes"
	"io"
	"strings"
)

// foreign says what a file is that begins like this, and what to do, where it can be no list in any format; empty for
// what may be one. People export the wrong thing more often than they break the right one.
func foreign(head []byte) string {
	begins := func(prefix string) bool { return bytes.HasPrefix(head, []byte(prefix)) }
	page := strings.ToLower(string(bytes.TrimLeft(head[:min(len(head), 256)], " \t\r\n\ufeff")))
	switch {
	case begins("\xff\xfe"), begins("\xfe\xff"), everyOtherNUL(head):
		return "the list is UTF-16: save it as UTF-8"
	case begins("PK\x03\x04"):
		return "the list is a ZIP archive, or a spreadsheet such as XLSX: save it as CSV in UTF-8"
	case begins("\xd0\xcf\x11\xe0"):
		return "the list is a file of Excel or Word: save it as CSV in UTF-8"
	case begins("%PDF-"):
		return "the list is a PDF: save it as CSV in UTF-8"
	case begins("\x28\xb5\x2f\xfd"), begins("\xfd7zXZ\x00"), begins("7z\xbc\xaf\x27\x1c"), begins("BZh") && bytes.Contains(head[:min(len(head), 10)], []byte("1AY&SY")):
		return "the list is compressed with another method than gzip: use gzip, or none"
	case strings.HasPrefix(page, "<!doctype html"), strings.HasPrefix(page, "<html"):
		return "the list is a web page: name the address of the file itself, which must need no login"
	default:
		return ""
	}
}

// everyOtherNUL reports whether a file begins as ASCII does in UTF-16, where there is no byte order mark.
func everyOtherNUL(head []byte) bool {
	return len(head) >= 4 && (head[0] == 0) != (head[1] == 0) && (head[0] == 0) == (head[2] == 0) && (head[1] == 0) == (head[3] == 0)
}

// looksJSON reports whether a line begins an object or a list of JSON.
func looksJSON(line string) bool {
	rest, object := strings.CutPrefix(line, "{")
	rest = strings.TrimLeft(rest, " \t")
	return object && (rest == "" || rest[0] == '"') || strings.HasPrefix(line, "[{") || line == "["
}

// crLines reads lines that end with a bare CR, as programs for the Mac have written them.
type crLines struct{ r io.Reader }

// Read implements io.Reader.
func (c crLines) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i, b := range p[:n] {
		if b == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// endsWithCR reports whether the lines of a text that begins like this end with a bare CR.
func endsWithCR(head []byte) bool {
	return bytes.IndexByte(head, '\r') >= 0 && bytes.IndexByte(head, '\n') < 0
}
