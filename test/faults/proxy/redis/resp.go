package redis

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The protocol: redis.io/docs/latest/develop/reference/protocol-spec.

// readLine returns a line with its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("reading a line: %w", err)
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, fmt.Errorf("a line of %d bytes is none of RESP", len(line))
	}
	return line, nil
}

// count is the number behind the first byte of a line.
func count(line []byte) (int, error) {
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	if err != nil {
		return 0, fmt.Errorf("reading a length: %w", err)
	}
	return n, nil
}

// readCommand reads a request: its bytes, and its words.
func readCommand(r *bufio.Reader) (raw []byte, words []string, err error) {
	line, err := readLine(r)
	if err != nil {
		return nil, nil, err
	}
	raw = append(raw, line...)
	if line[0] != '*' {
		return raw, strings.Fields(string(line)), nil // an inline command
	}
	n, err := count(line)
	if err != nil {
		return nil, nil, err
	}
	for range n {
		if line, err = readLine(r); err != nil {
			return nil, nil, err
		}
		size, err := count(line)
		if err != nil || line[0] != '$' || size < 0 {
			return nil, nil, fmt.Errorf("a word of a command begins with %q", line[:1])
		}
		raw = append(raw, line...)
		begin := len(raw)
		raw = append(raw, make([]byte, size+2)...)
		if _, err := io.ReadFull(r, raw[begin:]); err != nil {
			return nil, nil, fmt.Errorf("reading a word: %w", err)
		}
		words = append(words, string(raw[begin:begin+size]))
	}
	return raw, words, nil
}

// readReply reads one value of any type.
func readReply(r *bufio.Reader) ([]byte, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	raw := append([]byte(nil), line...)
	parts := 0
	switch line[0] {
	case '$', '=', '!': // text of a length
		size, err := count(line)
		if err != nil || size < 0 {
			return raw, err
		}
		begin := len(raw)
		raw = append(raw, make([]byte, size+2)...)
		if _, err := io.ReadFull(r, raw[begin:]); err != nil {
			return nil, fmt.Errorf("reading a text: %w", err)
		}
		return raw, nil
	case '*', '~', '>': // values
		if parts, err = count(line); err != nil {
			return nil, err
		}
	case '%', '|': // pairs of them; an attribute precedes what it belongs to
		if parts, err = count(line); err != nil {
			return nil, err
		}
		parts *= 2
		if line[0] == '|' {
			parts++
		}
	}
	for range max(parts, 0) {
		part, err := readReply(r)
		if err != nil {
			return nil, err
		}
		raw = append(raw, part...)
	}
	return raw, nil
}
