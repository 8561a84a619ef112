package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// The events of a final dot.
const (
	eventData    = "data"
	eventReplied = "replied"
	eventRead    = "read"
)

// Entry is what the book has of one final dot.
type Entry struct {
	// Number counts the final dots of the book, from 1, whoever wrote them.
	Number int
	// Session is the connection's number since the relay was started.
	Session int
	// Key stands for the recipient; see Key. Mails is the number of recipients of the transaction.
	Key   string
	Mails int
	// MessageID is without angle brackets; empty if there was none.
	MessageID string
	// Body is the SHA-256 of the mail, in hex: dots unstuffed, line ends CRLF. Size is its octets.
	Body string
	Size int
	// Accepted: the relay took responsibility.
	Accepted bool
	// Replied: a complete reply was handed to the network. Read: the client has shown that it read the reply.
	Replied, Read bool
	// Reply is that reply.
	Reply string
}

// line is a line of the file.
type line struct {
	Event     string `json:"event"`
	Number    int    `json:"n"`
	Session   int    `json:"session,omitempty"`
	Key       string `json:"key,omitempty"`
	Mails     int    `json:"mails,omitempty"`
	MessageID string `json:"messageID,omitempty"`
	Body      string `json:"body,omitempty"`
	Size      int    `json:"size,omitempty"`
	Accepted  bool   `json:"accepted,omitempty"`
	Reply     string `json:"reply,omitempty"`
}

// book is the file that is written.
type book struct {
	file *os.File

	mu   sync.Mutex
	last int
}

// openBook opens the file, and goes on where its last writer was cut off.
func openBook(path string) (*book, error) {
	entries, _, err := Read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the book: %w", err)
	}
	b := &book{file: file}
	for _, e := range entries {
		b.last = max(b.last, e.Number)
	}
	if err := b.closeTornLine(); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("opening the book: %w", err)
	}
	return b, nil
}

// closeTornLine ends a line that a killed writer did not: it spoils only itself then.
func (b *book) closeTornLine() error {
	info, err := b.file.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	end := make([]byte, 1)
	if _, err := b.file.ReadAt(end, info.Size()-1); err != nil {
		return err
	}
	if end[0] == '\n' {
		return nil
	}
	_, err = b.file.WriteString("\n")
	return err
}

// data writes an end of data, returns its number, and leaves it on the disk.
func (b *book) data(e Entry) (int, error) {
	number, err := b.append(line{
		Event: eventData, Session: e.Session, Key: e.Key, Mails: e.Mails, MessageID: e.MessageID, Body: e.Body,
		Size: e.Size, Accepted: e.Accepted,
	})
	if err != nil {
		return 0, err
	}
	if err := unix.Fdatasync(int(b.file.Fd())); err != nil {
		return 0, fmt.Errorf("syncing the book: %w", err)
	}
	return number, nil
}

// note writes how far a reply has come. It is not synced: losing it makes a reply less certain than it was.
func (b *book) note(number int, event, reply string) error {
	_, err := b.append(line{Event: event, Number: number, Reply: reply})
	return err
}

// append writes a line in one write(2); one without a number gets the next.
func (b *book) append(l line) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.Number == 0 {
		b.last++
		l.Number = b.last
	}
	text, err := json.Marshal(l)
	if err != nil {
		return 0, fmt.Errorf("writing the book: %w", err)
	}
	if _, err := b.file.Write(append(text, '\n')); err != nil {
		return 0, fmt.Errorf("writing the book: %w", err)
	}
	return l.Number, nil
}

// Read reads a book, in the order of its numbers. A torn line is left out and counted: its writer was killed before the
// line was whole, and so before the reply.
func Read(path string) (entries []Entry, torn int, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the book: %w", err)
	}
	return parse(bytes.NewReader(text))
}

func parse(r io.Reader) (entries []Entry, torn int, err error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the book: %w", err)
	}
	index := map[int]int{}
	for raw := range bytes.Lines(text) {
		var l line
		if len(bytes.TrimSpace(raw)) == 0 {
			continue
		}
		if json.Unmarshal(raw, &l) != nil {
			torn++
			continue
		}
		at, known := index[l.Number]
		switch {
		case l.Event == eventData && !known:
			index[l.Number] = len(entries)
			entries = append(entries, Entry{
				Number: l.Number, Session: l.Session, Key: l.Key, Mails: l.Mails, MessageID: l.MessageID, Body: l.Body,
				Size: l.Size, Accepted: l.Accepted,
			})
		case l.Event == eventReplied && known:
			entries[at].Replied, entries[at].Reply = true, l.Reply
		case l.Event == eventRead && known:
			entries[at].Read = true
		default:
			return nil, torn, fmt.Errorf("reading the book: event %q of final dot %d is out of place", l.Event, l.Number)
		}
	}
	return entries, torn, nil
}
