package mail

import (
	"bytes"
	"context"
)

// Tail is the end of a message that many mails share, such as their attachments: whole lines, as they go over the wire, in
// 7 bits. Its zero value is none. It is immutable.
type Tail struct{ data []byte }

// NewTail returns the tail that data is, which must not be changed any more; none and false for what can't be one.
func NewTail(data []byte) (Tail, bool) {
	if len(data) == 0 || !IsWire(data) || bytes.ContainsFunc(data, func(r rune) bool { return r > 0x7f }) {
		return Tail{}, false
	}
	return Tail{data}, true
}

// Bytes returns the octets of the tail, which must not be changed.
func (t Tail) Bytes() []byte { return t.data }

// Len is the number of octets.
func (t Tail) Len() int { return len(t.data) }

// TailSender is a Sender that takes the end of a message apart, so that mails which share it need no memory for it.
type TailSender interface {
	Sender
	// SendTail is Send for the message that raw and, behind its last line, tail are.
	SendTail(ctx context.Context, envelope Envelope, raw []byte, tail Tail, beforeDot func() error) Verdict
}

// IsWire reports whether raw is as it goes over the wire (RFC 5321 section 4.5.2): every line ends with CRLF, the last one
// too, no CR or LF stands alone, and no line begins with a dot.
func IsWire(raw []byte) bool {
	if len(raw) == 0 {
		return true
	}
	if raw[0] == '.' || raw[len(raw)-1] != '\n' {
		return false
	}
	ends := 0
	for next := 0; ; next++ {
		end := bytes.IndexByte(raw[next:], '\n')
		if end < 0 {
			break
		}
		next += end
		if next == 0 || raw[next-1] != '\r' || next+1 < len(raw) && raw[next+1] == '.' {
			return false
		}
		ends++
	}
	// Each line end has its CR, so any further one stands alone.
	return bytes.Count(raw, []byte{'\r'}) == ends
}
