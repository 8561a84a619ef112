package campaign

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// jobNamespace is the UUIDv5 namespace of job ids. It must never change: the ids in every database derive from it.
var jobNamespace = uuid.MustParse("6f1c2a4e-0f0b-5f0e-9a53-2d7a3c1b8e64")

// httpPrefix begins the keys of campaigns that came over HTTP.
const httpPrefix = "http/"

// JobID derives the id of shard number shard (from 0) of the campaign with this key. The ids of HTTP keys that end with a
// UUIDv7 sort by its time: databases then write what comes one after another side by side. They are UUIDv8 (RFC 9562 section
// 5.8): 60 bits of the key's time, 62 of key and shard. All others are UUIDv5.
func JobID(key string, shard int) string {
	name := []byte(key + "\x00" + strconv.Itoa(shard))
	made, ok := timeOf(key)
	if !ok {
		return uuid.NewSHA1(jobNamespace, name).String()
	}
	sum := sha256.Sum256(name)
	return ordered(made, sum[:8]).String()
}

// timeOf returns the UUIDv7 in a key that came over HTTP without a key of its own.
func timeOf(key string) (uuid.UUID, bool) {
	text, ok := strings.CutPrefix(key, httpPrefix)
	if !ok || len(text) != 36 || text[14] != '7' {
		return uuid.UUID{}, false
	}
	id, err := uuid.Parse(text)
	return id, err == nil && id.Variant() == uuid.RFC4122
}

// ordered is a UUIDv8 that begins as a UUIDv7 or UUIDv8 does, with its time, and ends with 62 bits of others.
func ordered(time uuid.UUID, rest []byte) uuid.UUID {
	id := time
	id[6] = id[6]&0x0f | 0x80
	copy(id[8:], rest)
	id[8] = id[8]&0x3f | 0x80
	return id
}

// RecipientID derives the id of the recipient at position (from 0) in the job with this id. It is a UUIDv8: 32 bits of the
// job, 28 bits of the position, 62 bits of the address; in a job whose id sorts by time, its 60 bits of time, 16 bits of
// the position, 46 bits of job and address. The ids of a job sort by position, up to 65,535 at least, so that clustered
// inserts stay sequential.
func RecipientID(jobID string, position int, address string) string {
	mailbox := sha256.Sum256([]byte(jobID + "\x00" + address))
	if job, err := uuid.Parse(jobID); err == nil && job.Version() == 8 {
		rest := binary.BigEndian.AppendUint64(nil, uint64(position&0xffff)<<46|binary.BigEndian.Uint64(mailbox[:])>>18)
		return ordered(job, rest).String()
	}
	job := sha256.Sum256([]byte(jobID))

	var id uuid.UUID
	copy(id[0:4], job[:4])
	binary.BigEndian.PutUint16(id[4:6], uint16(position>>12))
	binary.BigEndian.PutUint16(id[6:8], 0x8000|uint16(position&0x0fff))
	copy(id[8:16], mailbox[:8])
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// BullID is the Bull job id of the ring number ring (from 0) of a job. Bull ignores an id that it still knows, even
// one that failed: ringing again needs a new one.
func BullID(jobID string, ring int) string {
	if ring == 0 {
		return jobID
	}
	return fmt.Sprintf("%s-r%d", jobID, ring)
}

// MessageID derives the Message-ID, without angle brackets, of the mail that a job sends to an address. It is the same
// on every attempt, so that a receiver or relay can drop a copy.
func MessageID(jobID, address, senderAddress string) string {
	text := make([]byte, 0, 160) // on the stack, for one of each mail
	text = append(append(append(text, jobID...), 0), address...)
	sum := sha256.Sum256(text)
	text = messageIDs.AppendEncode(text[:0], sum[:20])
	domain := "localhost"
	if _, d, ok := strings.Cut(senderAddress, "@"); ok && d != "" {
		domain = d
	}
	return string(append(append(text, '@'), domain...))
}

// messageIDs spells hashes in lower case.
var messageIDs = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
