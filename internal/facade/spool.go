package facade

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// spoolMemory is how much of a list is kept in memory before it goes to a file.
const spoolMemory = 1 << 20

// errSpool: the list can't be kept while it is checked.
var errSpool = errors.New("keeping the list while it is checked")

// spool keeps the entries of a request, one JSON object a line, until the whole request is known to be right: members
// of a JSON object come in any order, so the sender or the body may stand behind the list. Nothing of a request that
// turns out to be wrong, or whose client goes away, ever reaches the database.
type spool struct {
	dir    string
	buffer bytes.Buffer
	file   *os.File
	sum    hash.Hash
	// entries is the number of lines.
	entries int
}

func newSpool(dir string) *spool { return &spool{dir: dir, sum: sha256.New()} }

// add appends one line.
func (s *spool) add(line []byte) error {
	s.sum.Write(line)
	s.sum.Write([]byte{'\n'})
	s.buffer.Write(line)
	s.buffer.WriteByte('\n')
	s.entries++
	if s.buffer.Len() < spoolMemory {
		return nil
	}
	return s.flush()
}

// flush moves what is in memory to the file.
func (s *spool) flush() error {
	if s.file == nil {
		file, err := os.CreateTemp(s.dir, "cartero-list-*")
		if err != nil {
			return fmt.Errorf("%w: %w", errSpool, err)
		}
		s.file = file
		// The file has no name from here on: it is gone when the process is, however it ends.
		if err := os.Remove(file.Name()); err != nil {
			return fmt.Errorf("%w: %w", errSpool, err)
		}
	}
	if _, err := s.buffer.WriteTo(s.file); err != nil {
		return fmt.Errorf("%w: %w", errSpool, err)
	}
	return nil
}

// reader returns all lines from the first on.
func (s *spool) reader() (io.Reader, error) {
	if s.file == nil {
		return bytes.NewReader(s.buffer.Bytes()), nil
	}
	if err := s.flush(); err != nil {
		return nil, err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("%w: %w", errSpool, err)
	}
	return s.file, nil
}

// hash identifies the list when it is written in jobs of this size.
func (s *spool) hash(jobSize int) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%x\x00JSONLines\x00%d", s.sum.Sum(nil), jobSize)
	return hex.EncodeToString(sum.Sum(nil))
}

// close gives the memory and the file back.
func (s *spool) close() {
	s.buffer = bytes.Buffer{}
	if s.file != nil {
		_ = s.file.Close() // It has no name and nobody reads it again.
	}
}
