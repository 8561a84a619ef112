package inbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A segment is an append-only file of mails. Each is a head of 16 bytes (magic, length of the meta data, length of the
// mail, CRC-32C over both; big-endian), the meta data as JSON, and the mail as it came.
const (
	recordMagic   = "CML1"
	recordHead    = 16
	segmentSuffix = ".mails"
	// maxMeta bounds the meta data on reading: a length beyond it is not one that this program wrote.
	maxMeta = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type segment struct {
	file *os.File
	size int64
}

// createSegment makes the file whose first mail will have this id.
func createSegment(dir string, first uint64) (*segment, error) {
	name := filepath.Join(dir, fmt.Sprintf("%012d%s", first, segmentSuffix))
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating a file of the inbox: %w", err)
	}
	return &segment{file: file}, nil
}

// appendRecord adds a mail to buf in the form that segments hold.
func appendRecord(buf []byte, meta Message, raw []byte) ([]byte, error) {
	text, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("encoding the envelope: %w", err)
	}
	buf = append(buf, recordMagic...)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(text)))
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(raw)))
	sum := crc32.Update(crc32.Checksum(text, castagnoli), castagnoli, raw)
	buf = binary.BigEndian.AppendUint32(buf, sum)
	buf = append(buf, text...)
	return append(buf, raw...), nil
}

// write appends a record in one write. If that fails, the file is as before.
func (s *segment) write(record []byte) error {
	if _, err := s.file.WriteAt(record, s.size); err != nil {
		return errors.Join(fmt.Errorf("writing to the inbox: %w", err), s.file.Truncate(s.size))
	}
	s.size += int64(len(record))
	return nil
}

// openSegment reads the meta data of a file and calls found for each mail with the place of its text. A last record
// that was cut off is removed: its sender never saw a 250.
func openSegment(name string, found func(meta Message, offset int64)) (*segment, error) {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a file of the inbox: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening a file of the inbox: %w", err), file.Close())
	}
	s := &segment{file: file}
	for s.size < info.Size() {
		meta, offset, err := s.readMeta(info.Size())
		if errors.Is(err, errCutOff) {
			if err = file.Truncate(s.size); err == nil {
				break
			}
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("reading %s of the inbox at %d: %w", filepath.Base(name), s.size, err), file.Close())
		}
		found(meta, offset)
		s.size = offset + int64(meta.Size)
	}
	return s, nil
}

var (
	errCutOff = errors.New("the record is cut off")
	errDamage = errors.New("the file is damaged: move it away to start with an empty inbox")
)

// readMeta reads the record at s.size of a file of fileSize bytes. Only the last record is checked against its sum:
// each is written by one write, so that no other can be incomplete.
func (s *segment) readMeta(fileSize int64) (meta Message, offset int64, err error) {
	var head [recordHead]byte
	if fileSize-s.size < recordHead {
		return meta, 0, errCutOff
	}
	if _, err := s.file.ReadAt(head[:], s.size); err != nil {
		return meta, 0, err
	}
	if string(head[:4]) != recordMagic {
		if strings.Trim(string(head[:]), "\x00") == "" { // what a power cut may leave behind
			return meta, 0, errCutOff
		}
		return meta, 0, errDamage
	}
	metaLen, rawLen := int64(binary.BigEndian.Uint32(head[4:])), int64(binary.BigEndian.Uint32(head[8:]))
	offset = s.size + recordHead + metaLen
	end := offset + rawLen
	if metaLen > maxMeta {
		return meta, 0, errDamage
	}
	if end > fileSize {
		return meta, 0, errCutOff
	}
	text := make([]byte, metaLen)
	if _, err := s.file.ReadAt(text, s.size+recordHead); err != nil {
		return meta, 0, err
	}
	if end == fileSize {
		sum := crc32.New(castagnoli)
		if _, err := io.Copy(sum, io.NewSectionReader(s.file, s.size+recordHead, metaLen+rawLen)); err != nil {
			return meta, 0, err
		}
		if sum.Sum32() != binary.BigEndian.Uint32(head[12:]) {
			return meta, 0, errCutOff
		}
	}
	if err := json.Unmarshal(text, &meta); err != nil || int64(meta.Size) != rawLen {
		return meta, 0, errDamage
	}
	return meta, offset, nil
}
