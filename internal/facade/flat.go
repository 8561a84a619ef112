package facade

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// jsonFormats are huma's, with a shorter way for the requests that nearly all are: an object of a few texts. huma reads a
// body twice, to check it and to use it, and encoding/json each time three times. What the short way does not understand,
// be it wrong or only rare, takes the long one, so that they never differ in an answer.
func jsonFormats(formats map[string]huma.Format) map[string]huma.Format {
	formats = maps.Clone(formats)
	for name, format := range formats {
		long := format.Unmarshal
		format.Unmarshal = func(text []byte, to any) error {
			switch to := to.(type) {
			case *any:
				if members, ok := flatObject(text); ok {
					*to = asMap(members)
					return nil
				}
			case *sendRequest:
				if members, ok := flatObject(text); ok {
					to.set(members)
					return nil
				}
			}
			return long(text, to)
		}
		formats[name] = format
	}
	return formats
}

// member is one of a flat object: a text, or null.
type member struct {
	name, value string
	null        bool
}

func asMap(members []member) map[string]any {
	object := make(map[string]any, len(members))
	for _, m := range members {
		if object[m.name] = m.value; m.null {
			object[m.name] = nil
		}
	}
	return object
}

// set sets the fields as UnmarshalJSON does.
func (r *sendRequest) set(members []member) {
	for _, m := range members {
		switch field := r.field(m.name).(type) {
		case *string:
			if !m.null {
				*field = m.value
			}
		case **string:
			if *field = nil; !m.null {
				*field = &m.value
			}
		case *addressList:
			if *field = (addressList{addresses: []string{m.value}}); m.null {
				*field = addressList{addresses: []string{""}}
			}
		}
	}
}

// flatObject reads a JSON object whose members are texts or null; false is not to say that anything is wrong with it.
func flatObject(text []byte) ([]member, bool) {
	s := flatScanner{rest: text}
	members := make([]member, 0, 8)
	if !s.skip('{') {
		return nil, false
	}
	for more := !s.skip('}'); more; {
		name, ok := s.text()
		if !ok || !s.skip(':') {
			return nil, false
		}
		m := member{name: name}
		if m.null = s.null(); !m.null {
			if m.value, ok = s.text(); !ok {
				return nil, false
			}
		}
		if len(members) == cap(members) || slices.ContainsFunc(members, func(other member) bool { return other.name == name }) {
			return nil, false
		}
		members = append(members, m)
		if more = s.skip(','); !more && !s.skip('}') {
			return nil, false
		}
	}
	return members, s.end()
}

type flatScanner struct{ rest []byte }

// end skips space, and reports whether nothing follows.
func (s *flatScanner) end() bool {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\n' || s.rest[0] == '\r' || s.rest[0] == '\t') {
		s.rest = s.rest[1:]
	}
	return len(s.rest) == 0
}

// skip skips space and this character, if it comes next.
func (s *flatScanner) skip(c byte) bool {
	if s.end() || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *flatScanner) null() bool {
	if s.end() || !bytes.HasPrefix(s.rest, []byte("null")) {
		return false
	}
	s.rest = s.rest[len("null"):]
	return true
}

// text reads a string. One with an escape is read by encoding/json.
func (s *flatScanner) text() (string, bool) {
	if s.end() || s.rest[0] != '"' {
		return "", false
	}
	end, escaped := 1, false
	for ; end < len(s.rest) && s.rest[end] != '"'; end++ {
		switch c := s.rest[end]; {
		case c < ' ':
			return "", false
		case c == '\\':
			escaped = true
			end++
		}
	}
	if end >= len(s.rest) {
		return "", false
	}
	quoted := s.rest[:end+1]
	s.rest = s.rest[end+1:]
	if !utf8.Valid(quoted) {
		return "", false
	}
	if escaped {
		return unescape(quoted)
	}
	return string(quoted[1:end]), true
}

// unescape reads a quoted string with escapes. The rare ones, of four digits, are left to encoding/json.
func unescape(quoted []byte) (string, bool) {
	value := make([]byte, 0, len(quoted))
	for rest := quoted[1 : len(quoted)-1]; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			value = append(value, rest...)
			break
		}
		at := strings.IndexByte(`"\/bfnrt`, rest[i+1])
		if at < 0 {
			var value string
			err := json.Unmarshal(quoted, &value)
			return value, err == nil
		}
		value = append(append(value, rest[:i]...), "\"\\/\b\f\n\r\t"[at])
		rest = rest[i+2:]
	}
	return string(value), true
}
