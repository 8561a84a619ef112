package facade

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
)

// IdempotencyKeyHeader makes a request one request, however often it is made (the IETF's draft
// draft-ietf-httpapi-idempotency-key-header).
const IdempotencyKeyHeader = "Idempotency-Key"

// replayedHeader is set where an answer is that of an earlier request.
const replayedHeader = "Idempotent-Replayed"

// idempotencyDoc describes the header.
const idempotencyDoc = "With the same key and body, the first answer is given again and nothing is sent. " +
	"1 to 255 visible ASCII characters."

var idempotencyKey = regexp.MustCompile(`^[\x21-\x7e]{1,255}$`)

// newKey is the key of the campaign that a request makes. With an Idempotency-Key it is derived, from who asks for what:
// the same request then finds what it made before, in whatever replica, in the same transaction that would make it again.
func (f *facade) newKey(caller, call, idempotency string) string {
	if idempotency == "" {
		return keyPrefix + f.NewID()
	}
	sum := sha256.New()
	for _, part := range []string{caller, call, idempotency} {
		sum.Write([]byte(part))
		sum.Write([]byte{0})
	}
	return keyPrefix + "idempotent/" + hex.EncodeToString(sum.Sum(nil))
}

// checkIdempotencyKey reports what is wrong with the header.
func checkIdempotencyKey(value string) []problem {
	if value == "" || idempotencyKey.MatchString(value) {
		return nil
	}
	return []problem{{
		Loc: []any{"header", IdempotencyKeyHeader}, Msg: "must be 1 to 255 visible ASCII characters", Type: "value_error",
	}}
}

func keyReused() problem {
	return problem{Loc: []any{"header", IdempotencyKeyHeader}, Msg: "was used for another request before", Type: "value_error"}
}
