package recipients

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/cartero-mail/cartero/internal/gunzip"
)

// Bounds of a list. An entry beyond them makes the list unreadable: cutting a value or leaving somebody out silently
// would be worse.
const (
	// MaxLine is the limit of a line, and of a CSV record with line breaks in it, in bytes.
	MaxLine = 64 << 10
	// MaxName is the limit of a display name, in characters, as in the API.
	MaxName = 256
	// MaxVariables is the limit of variables of an entry.
	MaxVariables = 32
	// MaxVariableKey is the limit of a variable's name, in characters.
	MaxVariableKey = 64
	// MaxVariableValue is the limit of a variable's value, in bytes.
	MaxVariableValue = 1024
)

// SyntaxError is a list that can't be understood.
type SyntaxError struct {
	// Line is where, counted from 1; of inline entries it is the entry's position.
	Line int
	// Reason says what is wrong and what to do, without quoting any address.
	Reason string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

func syntaxError(line int, format string, args ...any) error {
	return &SyntaxError{Line: line, Reason: fmt.Sprintf(format, args...)}
}

var byteOrderMark = []byte("\ufeff")

const lineBuffer = MaxLine + 2 // a full line with CRLF fits

// Text returns the text of a file that somebody exported: decompressed if it is gzip (RFC 1952, within gunzip's default
// limits), without a byte order mark, and with LF where lines end with a bare CR. It fails with a *SyntaxError for what is
// no text at all but, say, a spreadsheet. Errors of reading come with the first line.
func Text(r io.Reader) (*bufio.Reader, error) {
	in := bufio.NewReaderSize(&lasting{r: r}, lineBuffer)
	if head, _ := in.Peek(3); gunzip.Found(head) {
		in = bufio.NewReaderSize(gunzip.NewReader(in, gunzip.Limits{}), lineBuffer)
	}
	head, _ := in.Peek(lineBuffer)
	if what := foreign(head); what != "" {
		return nil, syntaxError(1, "%s", what)
	}
	if bytes.HasPrefix(head, byteOrderMark) {
		_, _ = in.Discard(len(byteOrderMark)) // they are there
	}
	if endsWithCR(head) {
		in = bufio.NewReaderSize(crLines{in}, lineBuffer)
	}
	return in, nil
}

// lineReader reads lines of bounded length, of gzip too, and refuses what no list may have: NUL and what is not UTF-8.
type lineReader struct {
	raw  io.Reader
	in   *bufio.Reader // what raw holds, once next was called
	line int           // number of the line that next returned last
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{raw: r} }

// lasting is a reader whose errors stay: looking ahead swallows them.
type lasting struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (l *lasting) Read(p []byte) (n int, err error) {
	if l.err == nil {
		n, l.err = l.r.Read(p)
	}
	return n, l.err
}

// next returns the next line with its line end, valid until the next call, or io.EOF.
func (l *lineReader) next() ([]byte, error) {
	if l.in == nil {
		var err error
		if l.in, err = Text(l.raw); err != nil {
			return nil, err
		}
	}
	text, err := l.in.ReadSlice('\n')
	if len(text) == 0 && errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	l.line++
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, syntaxError(l.line, "the line is longer than %d KiB", MaxLine>>10)
	case errors.Is(err, gunzip.ErrTooLarge), errors.Is(err, gunzip.ErrRatio), errors.Is(err, gunzip.ErrDamaged):
		return nil, syntaxError(l.line, "the compressed list breaks off here: %v", err)
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("reading line %d of the list: %w", l.line, err)
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, syntaxError(l.line, "the line has a NUL byte: the list is not a text file; save it as text in UTF-8")
	}
	if !utf8.Valid(text) {
		return nil, syntaxError(l.line, "the line is not UTF-8: save the list as UTF-8")
	}
	return text, nil
}
