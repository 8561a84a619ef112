package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
)

// errUnreadable is a reply that breaks the grammar of RFC 5321 section 4.2. Nothing may be concluded from it.
var errUnreadable = errors.New("the relay's reply is not readable")

// errDisorder is input that the relay sent without being asked: from here on replies could be taken for others.
var errDisorder = errors.New("the relay spoke out of turn")

// errLostBehind is a connection that ended with the mail before, to which nothing of the next one was answered.
var errLostBehind = errors.New("the relay closed the connection after the mail before")

// The bounds of one reply. A line is also bounded by the reader's buffer of 4 KiB.
const (
	maxReplyLines = 128
	maxReplyText  = 2048
)

// reply is one reply of the relay; its zero value is none.
type reply struct {
	code int
	// enhanced is the enhanced status code of RFC 2034, such as "5.1.1"; empty where there is none.
	enhanced string
	// text is the rest, its lines joined by a space, without the enhanced code.
	text string
}

func (r reply) ok() bool { return r.code/100 == 2 }

// readReply reads one reply, strictly: three digits on each line, the same on all of them, no NUL and no bare CR.
// Errors of the connection are returned as they are, everything else as errUnreadable. If brief, the text of a positive
// reply is not kept: nobody reads it, and most replies are positive.
func readReply(in *bufio.Reader, brief bool) (reply, error) {
	var r reply
	var text strings.Builder
	for lines := 0; ; lines++ {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || lines == maxReplyLines {
			return reply{}, errUnreadable
		}
		if err != nil {
			return reply{}, err
		}
		line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
		code, more, rest, ok := splitReplyLine(line)
		if !ok || lines > 0 && code != r.code {
			return reply{}, errUnreadable
		}
		r.code = code
		status, rest := cutEnhanced(code, rest)
		if len(status) > 0 && r.enhanced == "" {
			r.enhanced = enhancedCode(status)
		}
		if brief && code/100 < 4 {
			rest = nil
		}
		if len(rest) > 0 && text.Len()+len(rest) < maxReplyText {
			if text.Len() > 0 {
				text.WriteByte(' ')
			}
			text.Write(rest)
		}
		if !more {
			r.text = text.String()
			return r, nil
		}
	}
}

// splitReplyLine takes one line apart: code, whether another line follows, and the text.
func splitReplyLine(line []byte) (code int, more bool, rest []byte, ok bool) {
	if len(line) < 3 || bytes.IndexByte(line, 0) >= 0 || bytes.IndexByte(line, '\r') >= 0 {
		return 0, false, nil, false
	}
	if line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return 0, false, nil, false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, false, nil, true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, nil, false
	}
	return code, line[3] == '-', line[4:], true
}

// cutEnhanced takes the enhanced status code off a reply's text, if there is one and its class fits the reply's.
func cutEnhanced(code int, text []byte) (status, rest []byte) {
	word, rest, _ := bytes.Cut(text, []byte(" "))
	if len(word) < 5 || len(word) > 9 || int(word[0]-'0') != code/100 || word[1] != '.' {
		return nil, text
	}
	subject, detail, found := bytes.Cut(word[2:], []byte("."))
	if !found || !isNumber(subject) || !isNumber(detail) {
		return nil, text
	}
	return word, rest
}

// enhancedCode is the code as a string; the ones that come with every mail are not allocated.
func enhancedCode(status []byte) string {
	switch string(status) {
	case "2.0.0":
		return "2.0.0"
	case "2.1.0":
		return "2.1.0"
	case "2.1.5":
		return "2.1.5"
	case "2.5.0":
		return "2.5.0"
	case "2.6.0":
		return "2.6.0"
	}
	return string(status)
}

func isNumber(b []byte) bool {
	if len(b) == 0 || len(b) > 3 {
		return false
	}
	for _, c := range b {
		if !isDigit(c) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
