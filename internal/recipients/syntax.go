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

// lineReader reads lines of bounded length, of gzip too, and refuses what no list may have: NUL and what is not UTF-8.
type lineReader struct {
	in   *bufio.Reader
	line int // number of the line that next returned last
}

const lineBuffer = MaxLine + 2 // a full line with CRLF fits

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(&lasting{r: r}, lineBuffer)}
}

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
	if l.line == 0 {
		if err := l.begin(); err != nil {
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
	if l.line == 1 {
		text = bytes.TrimPrefix(text, byteOrderMark)
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, syntaxError(l.line, "the line has a NUL byte: the list is not a text file; save it as text in UTF-8")
	}
	if !utf8.Valid(text) {
		return nil, syntaxError(l.line, "the line is not UTF-8: save the list as UTF-8")
	}
	return text, nil
}

// begin looks at how the list begins: it may be compressed, have line ends of its own, or be no list at all. Errors of
// reading come again with the first line.
func (l *lineReader) begin() error {
	if head, _ := l.in.Peek(3); gunzip.Found(head) {
		l.in = bufio.NewReaderSize(gunzip.NewReader(l.in, gunzip.Limits{}), lineBuffer)
	}
	head, _ := l.in.Peek(lineBuffer)
	if what := foreign(head); what != "" {
		l.line = 1
		return syntaxError(1, "%s", what)
	}
	if endsWithCR(head) {
		l.in = bufio.NewReaderSize(crLines{l.in}, lineBuffer)
	}
	return nil
}
