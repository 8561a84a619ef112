package campaign

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// jobNamespace is the UUIDv5 namespace of job ids. It must never change: the ids in every database derive from it.
var jobNamespace = uuid.MustParse("6f1c2a4e-0f0b-5f0e-9a53-2d7a3c1b8e64")

// JobID derives the id of shard number shard (from 0) of the campaign with this key.
func JobID(key string, shard int) string {
	return uuid.NewSHA1(jobNamespace, fmt.Appendf(nil, "%s\x00%d", key, shard)).String()
}

// RecipientID derives the id of the recipient at position (from 0) in the job with this id. It is a UUIDv8
// (RFC 9562 section 5.8): 32 bits of the job, 28 bits of the position, 62 bits of the address. The ids of a job sort by
// position, so that clustered inserts stay sequential.
func RecipientID(jobID string, position int, address string) string {
	job := sha256.Sum256([]byte(jobID))
	mailbox := sha256.Sum256([]byte(jobID + "\x00" + address))

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
	sum := sha256.Sum256([]byte(jobID + "\x00" + address))
	local := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:20]))
	domain := "localhost"
	if _, d, ok := strings.Cut(senderAddress, "@"); ok && d != "" {
		domain = d
	}
	return local + "@" + domain
}
