package smtp

import (
	"bytes"
	"encoding/binary"
)

// appendWire appends raw to dst as it goes over the wire between DATA and the final dot: every line end is CRLF, also
// one that was a bare CR or LF, a line that starts with a dot gets a second one (RFC 5321 section 4.5.2), and the last
// line is ended. What a receiver takes apart is therefore exactly one message, whatever raw holds.
func appendWire(dst, raw []byte) []byte {
	for len(raw) > 0 {
		end := bytes.IndexByte(raw, '\n')
		var line []byte
		if end < 0 {
			line, raw = raw, nil
		} else {
			line, raw = raw[:end], raw[end+1:]
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		for {
			cr := bytes.IndexByte(line, '\r')
			if cr < 0 {
				break
			}
			dst = appendLine(dst, line[:cr])
			line = line[cr+1:]
		}
		dst = appendLine(dst, line)
	}
	return dst
}

func appendLine(dst, line []byte) []byte {
	if len(line) > 0 && line[0] == '.' {
		dst = append(dst, '.')
	}
	dst = append(dst, line...)
	return append(dst, '\r', '\n')
}

// has8Bit reports whether the message has octets above 127, and whether its header section has: the one needs 8BITMIME
// (RFC 6152), the other SMTPUTF8 (RFC 6531) as well.
func has8Bit(raw []byte) (anywhere, inHeader bool) {
	first := first8Bit(raw)
	if first < 0 {
		return false, false
	}
	end := bytes.Index(raw, []byte("\r\n\r\n"))
	return true, end < 0 || first < end
}

// first8Bit is where the first octet above 127 stands; -1 if there is none. It looks at 32 of them at a time.
func first8Bit(raw []byte) int {
	i := 0
	for ; i+32 <= len(raw); i += 32 {
		block := (*[32]byte)(raw[i:])
		words := binary.LittleEndian.Uint64(block[:]) | binary.LittleEndian.Uint64(block[8:]) |
			binary.LittleEndian.Uint64(block[16:]) | binary.LittleEndian.Uint64(block[24:])
		if words&0x8080808080808080 != 0 {
			break
		}
	}
	for ; i < len(raw); i++ {
		if raw[i] >= 0x80 {
			return i
		}
	}
	return -1
}
