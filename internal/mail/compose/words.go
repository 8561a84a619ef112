package compose

import (
	"encoding/base64"
	"unicode/utf8"
)

const (
	// maxEncodedWord is the longest encoded-word (RFC 2047 section 2).
	maxEncodedWord = 75
	// wordFrame is what an encoded-word has around its text: =?UTF-8?q? and ?=.
	wordFrame = 12
	// leastWord is the least room that is worth an encoded-word: a character of four octets in Q.
	leastWord = wordFrame + 12
)

// plainInQ are the octets that the Q encoding leaves as they are: in a phrase letters, digits and five signs, elsewhere
// all that is printable and has no meaning in the encoding (RFC 2047 sections 4.2 and 5).
var plainInQ = func() (table [2][256]bool) {
	for c := byte('!'); c <= '~'; c++ {
		alphanumeric := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		table[0][c] = c != '=' && c != '?' && c != '_'
		table[1][c] = alphanumeric || c == '!' || c == '*' || c == '+' || c == '-' || c == '/'
	}
	return table
}()

// appendWords appends a text as encoded-words, each on a line of its own, none longer than it may be. The Q encoding
// keeps Latin scripts legible, B is shorter for others.
func appendWords(dst []byte, column int, text []byte, phrase bool) []byte {
	high := 0
	for _, c := range text {
		if c >= utf8.RuneSelf {
			high++
		}
	}
	inB := high*3 > len(text)
	for first := true; len(text) > 0; first = false {
		if !first || foldedLine-column < leastWord {
			dst = append(dst, '\r', '\n', ' ')
			column = 1
		}
		room := min(maxEncodedWord, foldedLine-column) - wordFrame
		if inB {
			dst, text = appendB(dst, text, room)
		} else {
			dst, text = appendQ(dst, text, room, phrase)
		}
		dst = append(dst, "?="...)
	}
	return dst
}

// appendB appends what fits into the room in base64, without cutting a character, and returns the rest.
func appendB(dst, text []byte, room int) (out, rest []byte) {
	n := min(room/4*3, len(text))
	for n < len(text) && !utf8.RuneStart(text[n]) {
		n--
	}
	return base64.StdEncoding.AppendEncode(append(dst, "=?UTF-8?b?"...), text[:n]), text[n:]
}

// appendQ is appendB for the Q encoding.
func appendQ(dst, text []byte, room int, phrase bool) (out, rest []byte) {
	table := &plainInQ[0]
	if phrase {
		table = &plainInQ[1]
	}
	dst = append(dst, "=?UTF-8?q?"...)
	for len(text) > 0 {
		c := text[0]
		if c == ' ' || table[c] {
			if room--; room < 0 {
				break
			}
			if c == ' ' {
				c = '_'
			}
			dst, text = append(dst, c), text[1:]
			continue
		}
		_, size := utf8.DecodeRune(text)
		if room -= 3 * size; room < 0 {
			break
		}
		for _, c := range text[:size] {
			dst = append(dst, '=', upperHex[c>>4], upperHex[c&15])
		}
		text = text[size:]
	}
	return dst, text
}
