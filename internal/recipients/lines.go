package recipients

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// lineSource reads one address a line.
type lineSource struct{ lines *lineReader }

func (s *lineSource) next() (Entry, int, error) {
	for {
		raw, err := s.lines.next()
		if err != nil {
			return Entry{}, 0, err
		}
		line := strings.TrimFunc(string(raw), blank)
		if line == "" || line[0] == '#' {
			continue
		}
		return parseMailbox(line), s.lines.line, nil
	}
}

// parseMailbox takes Name <address> apart (RFC 5322 section 3.4, without comments); anything else is an address.
func parseMailbox(s string) Entry {
	inner, ok := strings.CutSuffix(s, ">")
	open := strings.LastIndexByte(inner, '<')
	if !ok || open < 0 {
		return Entry{Address: s}
	}
	name := strings.TrimSpace(inner[:open])
	if len(name) >= 2 && name[0] == '"' && name[len(name)-1] == '"' {
		name = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(name[1 : len(name)-1])
	}
	return Entry{Address: inner[open+1:], Name: name}
}

// jsonSource reads one JSON object a line.
type jsonSource struct{ lines *lineReader }

type jsonEntry struct {
	Email     *string           `json:"email"`
	Address   *string           `json:"address"`
	Name      string            `json:"name"`
	Variables map[string]scalar `json:"variables"`
}

func (s *jsonSource) next() (Entry, int, error) {
	for {
		raw, err := s.lines.next()
		if err != nil {
			return Entry{}, 0, err
		}
		text := strings.TrimSpace(string(raw))
		if text == "" {
			continue
		}
		entry, err := parseJSON(text, s.lines.line)
		return entry, s.lines.line, err
	}
}

func parseJSON(text string, line int) (Entry, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	var in jsonEntry
	if err := decoder.Decode(&in); err != nil {
		return Entry{}, jsonError(err, line)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Entry{}, syntaxError(line, "text follows the JSON object: write one object a line")
	}
	if in.Email != nil && in.Address != nil {
		return Entry{}, syntaxError(line, "the entry has both email and address: keep one")
	}
	entry := Entry{Name: in.Name}
	switch {
	case in.Email != nil:
		entry.Address = *in.Email
	case in.Address != nil:
		entry.Address = *in.Address
	default:
		return Entry{}, syntaxError(line, "the entry has no field email")
	}
	if len(in.Variables) > 0 {
		entry.Variables = make(map[string]string, len(in.Variables))
		for key, value := range in.Variables {
			entry.Variables[key] = string(value)
		}
	}
	return entry, nil
}

// jsonError puts what encoding/json says into words that quote nothing of the entry but the names of its fields.
func jsonError(err error, line int) error {
	var wrongType *json.UnmarshalTypeError
	var unknown string
	switch {
	case errors.Is(err, errNotScalar):
		return syntaxError(line, "the value of a variable is a list or an object: use a text, a number, true, false or null")
	case errors.As(err, &wrongType) && wrongType.Field == "":
		return syntaxError(line, "not a JSON object: write one object a line, without a list around them")
	case errors.As(err, &wrongType):
		return syntaxError(line, "the field %s is a %s", wrongType.Field, wrongType.Value)
	case scanUnknown(err, &unknown):
		return syntaxError(line, "unknown field %q: the fields are email, name and variables", unknown)
	default:
		return syntaxError(line, "not a JSON object")
	}
}

// scanUnknown finds the field's name in the one error of encoding/json that has no type of its own.
func scanUnknown(err error, name *string) bool {
	_, scanErr := fmt.Sscanf(err.Error(), "json: unknown field %q", name)
	return scanErr == nil && len(*name) <= MaxVariableKey && !strings.Contains(*name, "@")
}

var errNotScalar = errors.New("not a scalar")

// scalar is a JSON text, number, boolean or null, as text. Numbers stay as they are written.
type scalar string

// UnmarshalJSON implements json.Unmarshaler.
func (s *scalar) UnmarshalJSON(raw []byte) error {
	switch raw[0] {
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return fmt.Errorf("reading a text: %w", err)
		}
		*s = scalar(text)
	case '{', '[':
		return errNotScalar
	case 'n':
		*s = ""
	default:
		*s = scalar(raw)
	}
	return nil
}

// inlineSource yields entries that are in memory.
type inlineSource struct {
	entries []Entry
	at      int
}

func (s *inlineSource) next() (Entry, int, error) {
	if s.at == len(s.entries) {
		return Entry{}, 0, io.EOF
	}
	s.at++
	return s.entries[s.at-1], s.at, nil
}
