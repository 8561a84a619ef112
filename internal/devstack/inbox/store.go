package inbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"
)

// segmentSize is the size at which a new file is begun.
const segmentSize = 256 << 20

// Message is what the inbox knows of a mail without parsing its body.
type Message struct {
	// ID counts the mails from 1, in the order of their arrival.
	ID uint64 `json:"id"`
	// Received is when the mail was complete.
	Received time.Time `json:"received"`
	// Sender and Recipients are the SMTP envelope.
	Sender     string   `json:"sender"`
	Recipients []string `json:"recipients"`
	// From, To and Subject are the header fields, decoded.
	From    string `json:"from"`
	To      string `json:"to"`
	Subject string `json:"subject"`
	// MessageID is without angle brackets; empty where the mail has none.
	MessageID string `json:"messageId"`
	// Size is the length of the mail in bytes.
	Size int `json:"size"`
}

// ToName is the display name in To; empty where there is none.
func (m Message) ToName() string {
	name, _, ok := strings.Cut(m.To, "<")
	if !ok {
		return ""
	}
	return strings.Trim(strings.TrimSpace(name), `"`)
}

// Summary is the state of the inbox. Delivery means one mail for one recipient.
type Summary struct {
	// Messages is the number of mails, Deliveries the number of their envelope recipients.
	Messages   int `json:"messages"`
	Deliveries int `json:"deliveries"`
	// MessageIDs is the number of different Message-IDs, Recipients that of different recipients.
	MessageIDs int `json:"messageIds"`
	Recipients int `json:"recipients"`
	// Duplicates counts the deliveries of a Message-ID to a recipient that had it already.
	Duplicates int `json:"duplicates"`
	// LastID is the id of the newest mail; 0 where there is none.
	LastID uint64 `json:"lastId"`
	// Bytes is the size of all mails.
	Bytes int `json:"bytes"`
	// Refused counts the refusals by domain of practice since the inbox was started.
	Refused map[string]int `json:"refused"`
}

type delivery struct{ messageID, recipient string }

type entry struct {
	Message
	segment *segment
	offset  int64
}

// store holds the mails on disk and their index and ledger in memory: some 500 bytes a mail.
type store struct {
	dir string

	mu         sync.RWMutex
	segments   []*segment
	entries    []entry // in the order of their ids, without gaps
	nextID     uint64
	bytes      int
	deliveries map[delivery]int
	recipients map[string]int
	messageIDs map[string]int
	total      int
	duplicates int
	closed     bool
	buffer     []byte
}

func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the inbox's directory: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		return nil, fmt.Errorf("listing the inbox's files: %w", err)
	}
	slices.Sort(names)
	s := &store{dir: dir, nextID: 1}
	s.reset()
	for _, name := range names {
		var found []entry
		seg, err := openSegment(name, func(meta Message, offset int64) {
			found = append(found, entry{Message: meta, offset: offset})
		})
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.segments = append(s.segments, seg)
		for _, e := range found {
			e.segment = seg
			s.index(e)
		}
	}
	return s, nil
}

func (s *store) reset() {
	s.entries, s.segments = nil, nil
	s.deliveries, s.recipients, s.messageIDs = map[delivery]int{}, map[string]int{}, map[string]int{}
	s.bytes, s.total, s.duplicates = 0, 0, 0
}

var errClosed = errors.New("the inbox is closed")

// add writes a mail and returns its id. The mail is in the file when add returns.
func (s *store) add(meta Message, raw []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, errClosed
	}
	if len(s.segments) == 0 || s.segments[len(s.segments)-1].size >= segmentSize {
		seg, err := createSegment(s.dir, s.nextID)
		if err != nil {
			return 0, err
		}
		s.segments = append(s.segments, seg)
	}
	meta.ID, meta.Size = s.nextID, len(raw)
	record, err := appendRecord(s.buffer[:0], meta, raw)
	if err != nil {
		return 0, err
	}
	if cap(record) <= 1<<20 { // a rare huge mail need not be remembered
		s.buffer = record
	}
	seg := s.segments[len(s.segments)-1]
	if err := seg.write(record); err != nil {
		return 0, err
	}
	s.index(entry{Message: meta, segment: seg, offset: seg.size - int64(len(raw))})
	return meta.ID, nil
}

// index enters a mail into index and ledger. The mails of a campaign share most of their texts: these are kept once.
func (s *store) index(e entry) {
	e.Subject = unique.Make(e.Subject).Value()
	e.From = unique.Make(e.From).Value()
	e.Sender = unique.Make(e.Sender).Value()
	s.nextID = e.ID + 1
	s.entries = append(s.entries, e)
	s.bytes += e.Size
	if e.MessageID != "" {
		s.messageIDs[e.MessageID]++
	}
	for _, recipient := range e.Recipients {
		key := mailboxKey(recipient)
		s.total++
		s.recipients[key]++
		if e.MessageID == "" {
			continue // nothing to know a copy by
		}
		d := delivery{e.MessageID, key}
		s.deliveries[d]++
		if s.deliveries[d] > 1 {
			s.duplicates++
		}
	}
}

// find returns the entry with this id. The caller holds the lock.
func (s *store) find(id uint64) (entry, bool) {
	if len(s.entries) == 0 || id < s.entries[0].ID || id > s.entries[len(s.entries)-1].ID {
		return entry{}, false
	}
	return s.entries[id-s.entries[0].ID], true
}

var errNotFound = errors.New("no such mail in the inbox")

// raw returns a mail as it came.
func (s *store) raw(id uint64) (Message, []byte, error) {
	s.mu.RLock() // held while reading: clear closes the files
	defer s.mu.RUnlock()
	e, ok := s.find(id)
	if !ok {
		return Message{}, nil, errNotFound
	}
	text := make([]byte, e.Size)
	if _, err := e.segment.file.ReadAt(text, e.offset); err != nil {
		return Message{}, nil, fmt.Errorf("reading mail %d: %w", id, err)
	}
	return e.Message, text, nil
}

func (s *store) messages() []Message {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]Message, len(s.entries))
	for i, e := range s.entries {
		list[i] = e.Message
	}
	return list
}

func (s *store) summary() Summary {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sum := Summary{
		Messages: len(s.entries), Deliveries: s.total, MessageIDs: len(s.messageIDs), Recipients: len(s.recipients),
		Duplicates: s.duplicates, Bytes: s.bytes,
	}
	if len(s.entries) > 0 {
		sum.LastID = s.nextID - 1
	}
	return sum
}

// deliveriesByRecipient returns how many mails each recipient got.
func (s *store) deliveriesByRecipient() map[string]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	counts := make(map[string]int, len(s.recipients))
	maps.Copy(counts, s.recipients)
	return counts
}

// clear removes every mail. Ids go on where they were.
func (s *store) clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	var errs []error
	for _, seg := range s.segments {
		errs = append(errs, os.Remove(seg.file.Name()), seg.file.Close())
	}
	s.reset()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("emptying the inbox: %w", err)
	}
	return nil
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, seg := range s.segments {
		errs = append(errs, seg.file.Close())
	}
	return errors.Join(errs...)
}
