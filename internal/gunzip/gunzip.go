// Package gunzip decompresses gzip (RFC 1952) that somebody else made: within limits, so that a small file can't become
// an endless one.
package gunzip

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
)

// Defaults of Limits.
const (
	// DefaultBytes is twenty times a list of a million rows.
	DefaultBytes = 1 << 30
	// DefaultRatio is far above what lists come to, which is 3 to 20, and far below the 1,032 that the format allows.
	DefaultRatio = 200

	// free is what is decompressed before the ratio counts: small files of one repeated line are no attack.
	free = 4 << 20
)

// Errors that callers decide on. What reading the compressed bytes failed with is returned as it is.
var (
	// ErrTooLarge: more than Limits.Bytes come out.
	ErrTooLarge = errors.New("what it decompresses to is too large")
	// ErrRatio: what comes out is more than Limits.Ratio times what goes in.
	ErrRatio = errors.New("what it decompresses to is out of proportion to its size, as in an archive bomb")
	// ErrDamaged: it is not gzip, ends too early, has a wrong checksum, or text behind its end.
	ErrDamaged = errors.New("its gzip compression is damaged")
)

// Limits bound what comes out; a zero field is the default.
type Limits struct {
	// Bytes is how many may come out at most.
	Bytes int64
	// Ratio is how many bytes may come out for each that goes in.
	Ratio int64
}

// Found reports whether head, the first bytes of a file, are those of a gzip file.
func Found(head []byte) bool {
	return len(head) >= 3 && head[0] == 0x1f && head[1] == 0x8b && head[2] == 8 // the only method is deflate
}

// NewReader returns what r decompresses to. Nothing is read before Read.
func NewReader(r io.Reader, limits Limits) io.Reader {
	if limits.Bytes == 0 {
		limits.Bytes = DefaultBytes
	}
	if limits.Ratio == 0 {
		limits.Ratio = DefaultRatio
	}
	in := &counted{r: r}
	return &reader{in: in, buffered: bufio.NewReader(in), limits: limits}
}

type reader struct {
	in       *counted
	buffered *bufio.Reader
	gz       *gzip.Reader
	limits   Limits
	out      int64
	err      error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.gz == nil {
		if r.gz, r.err = gzip.NewReader(r.buffered); r.err != nil {
			r.err = r.explain(r.err)
			return 0, r.err
		}
	}
	n, err := r.gz.Read(p)
	r.out += int64(n)
	switch {
	case r.out > r.limits.Bytes:
		r.err = ErrTooLarge
		return 0, r.err
	case r.out > free && r.out/r.limits.Ratio > r.in.n:
		r.err = ErrRatio
		return 0, r.err
	case err != nil:
		r.err = r.explain(err)
	}
	return n, r.err
}

// explain tells a broken source, whose error is the source's, from broken contents.
func (r *reader) explain(err error) error {
	switch {
	case r.in.err != nil && !errors.Is(r.in.err, io.EOF):
		return r.in.err
	case errors.Is(err, io.EOF) && r.gz != nil:
		return io.EOF
	default:
		return ErrDamaged
	}
}

// counted counts what is read of r, and keeps what reading failed with.
type counted struct {
	r   io.Reader
	n   int64
	err error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.err = err
	return n, err
}
