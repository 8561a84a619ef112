package facade

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	netmail "net/mail"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// maxProblems is how many wrong fields one answer lists; reading stops there.
const maxProblems = 20

// errValueTooLong: one value of the request is longer than MaxContent.
var errValueTooLong = errors.New("a value of the request is too long")

// errStop: the problems that were found are enough.
var errStop = errors.New("the rest is not read")

// campaignRequest is the body of POST /send-campaign as it is read.
type campaignRequest struct {
	fields   map[string]string // the texts that were given
	list     *spool
	most     int // entries that the list may have
	hasList  bool
	mixed    bool // Node workers share the queue
	problems []problem
}

// textFields are the members that are texts.
var textFields = map[string]bool{"subject": true, "body": true, "content_type": true, "from": true}

// bounded reads the body for a JSON decoder and stops it from holding a value of more than MaxContent: such a value
// would be in memory as a whole.
type bounded struct {
	in      io.Reader
	decoder *json.Decoder
	read    int64
}

// Read implements io.Reader. The decoder reads on only where what it holds is not a whole value.
func (b *bounded) Read(p []byte) (int, error) {
	if b.read-b.decoder.InputOffset() > MaxContent+2*utf8.UTFMax {
		return 0, errValueTooLong
	}
	n, err := b.in.Read(p)
	b.read += int64(n)
	return n, err
}

func newBoundedDecoder(body io.Reader) *json.Decoder {
	b := &bounded{in: body}
	b.decoder = json.NewDecoder(b)
	return b.decoder
}

// read reads the whole body and checks every member. What is wrong in it goes to problems; the error is what kept it
// from being read.
func (c *campaignRequest) read(body io.Reader, defaultFrom mail.Address) (campaign.Content, error) {
	decoder := newBoundedDecoder(body)
	err := c.readObject(decoder)
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return c.content(defaultFrom), nil
	case errors.Is(err, errStop):
	case errors.As(err, &syntax):
		c.note(wrong("json_invalid", "this is not JSON: "+syntax.Error(), int(syntax.Offset)))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		c.note(wrong("json_invalid", "the JSON object ends too early", int(decoder.InputOffset())))
	case errors.Is(err, errValueTooLong):
		c.note(wrong("too_long", fmt.Sprintf("the value that begins here has more than %d bytes", MaxContent),
			int(decoder.InputOffset())))
	default:
		return campaign.Content{}, err
	}
	return campaign.Content{}, nil
}

// note adds a problem.
func (c *campaignRequest) note(p problem) { c.problems = append(c.problems, p) }

// add adds a problem, and stops the reading at the maxProblems-th.
func (c *campaignRequest) add(p problem) error {
	c.note(p)
	if len(c.problems) >= maxProblems {
		return errStop
	}
	return nil
}

// stop adds a problem after which the rest can't be understood or is not worth it.
func (c *campaignRequest) stop(p problem) error {
	c.note(p)
	return errStop
}

func (c *campaignRequest) readObject(decoder *json.Decoder) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') {
		return c.stop(wrong("model_attributes_type", "must be a JSON object"))
	}
	seen := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // within an object, the decoder lets only texts through here
		if seen[name] && (name == "recipients" || textFields[name]) {
			if err := c.add(wrong("duplicate", "is given twice", name)); err != nil {
				return err
			}
		}
		seen[name] = true
		if err := c.readMember(decoder, name); err != nil {
			return err
		}
	}
	if _, err := decoder.Token(); err != nil {
		return err
	}
	end := int(decoder.InputOffset())
	switch _, err := decoder.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	default:
		return c.add(wrong("json_invalid", "something follows the JSON object", end))
	}
}

// readMember reads one member's value. Members that mean nothing here are skipped: legacy clients send such.
func (c *campaignRequest) readMember(decoder *json.Decoder, name string) error {
	if name == "recipients" {
		return c.readList(decoder)
	}
	var raw json.RawMessage
	if err := decoder.Decode(&raw); err != nil {
		return err
	}
	optional := name == "content_type" || name == "from"
	if !textFields[name] || (optional && string(raw) == "null") {
		return nil
	}
	var text string
	if raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return c.add(wrong("string_type", "must be a text", name))
	}
	c.fields[name] = text
	return nil
}

func (c *campaignRequest) readList(decoder *json.Decoder) error {
	c.hasList = true
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	if token != json.Delim('[') {
		return c.stop(wrong("list_type", "must be a list of addresses, or of {email, name, variables}", "recipients"))
	}
	for position := 0; decoder.More(); position++ {
		if position == c.most {
			return c.stop(wrong("too_long", fmt.Sprintf("has more than %d entries", c.most), "recipients"))
		}
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return err
		}
		if err := c.addEntry(raw, position); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}

// entry is a recipient in a request.
type entry struct {
	Email     *string                    `json:"email"`
	Name      *string                    `json:"name,omitempty"`
	Variables map[string]json.RawMessage `json:"variables,omitempty"`
}

// addEntry checks the types of one entry and spools it as a line of JSON.
func (c *campaignRequest) addEntry(raw json.RawMessage, position int) error {
	switch raw[0] {
	case '"':
		line := make([]byte, 0, len(raw)+len(`{"email":}`))
		line = append(append(append(line, `{"email":`...), raw...), '}')
		return c.list.add(line)
	case '{':
	default:
		return c.add(wrong("string_type", "must be an address, or {email, name, variables}", "recipients", position))
	}

	var e entry
	var wrongType *json.UnmarshalTypeError
	switch err := json.Unmarshal(raw, &e); {
	case errors.As(err, &wrongType) && wrongType.Field == "variables":
		return c.add(wrong("dict_type", "must be an object of texts", "recipients", position, "variables"))
	case errors.As(err, &wrongType):
		return c.add(wrong("string_type", "must be a text", "recipients", position, wrongType.Field))
	case err != nil:
		return fmt.Errorf("reading entry %d: %w", position, err)
	case e.Email == nil:
		return c.add(wrong("missing", "is required", "recipients", position, "email"))
	}
	for _, value := range e.Variables {
		if value[0] == '{' || value[0] == '[' {
			return c.add(wrong("string_type", "must have texts, numbers, true, false or null as values",
				"recipients", position, "variables"))
		}
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("writing entry %d: %w", position, err)
	}
	return c.list.add(line)
}

// content checks everything and returns what every mail is made from. What is wrong goes to problems.
func (c *campaignRequest) content(defaultFrom mail.Address) campaign.Content {
	content := c.message(defaultFrom)
	if !c.hasList {
		c.missing("recipients")
	} else if c.list.entries == 0 && !c.blamed("recipients") {
		c.refuse("too_short", "must have at least 1 entry", "recipients")
	}
	return content
}

// message checks the fields that make a mail.
func (c *campaignRequest) message(defaultFrom mail.Address) campaign.Content {
	content := campaign.Content{Subject: c.subject(), From: c.from(defaultFrom)}
	body, given := c.fields["body"]
	switch {
	case !given:
		c.missing("body")
	case strings.TrimSpace(body) == "":
		c.refuse("string_too_short", "must not be empty", "body")
	case strings.ContainsRune(body, 0):
		c.refuse("value_error", "must not have NUL characters", "body")
	}
	if c.isHTML(body) {
		content.HTML = body
	} else {
		content.Text = body
	}
	if c.mixed {
		c.refuseBeyondNodeWorkers(content, defaultFrom)
	}
	return content
}

// refuse adds a problem of a member. Members are few: no limit is needed.
func (c *campaignRequest) refuse(kind, msg, field string) { c.note(wrong(kind, msg, field)) }

// missing adds the problem of a member that is not there, unless it was there with a wrong type.
func (c *campaignRequest) missing(field string) {
	if !c.blamed(field) {
		c.refuse("missing", "is required", field)
	}
}

// blamed reports whether a problem is about this member.
func (c *campaignRequest) blamed(field string) bool {
	return slices.ContainsFunc(c.problems, func(p problem) bool { return len(p.Loc) > 1 && p.Loc[1] == field })
}

func (c *campaignRequest) subject() string {
	subject, given := c.fields["subject"]
	switch {
	case !given:
		c.missing("subject")
	case strings.TrimSpace(subject) == "":
		c.refuse("string_too_short", "must not be empty", "subject")
	case utf8.RuneCountInString(subject) > MaxSubject:
		c.refuse("string_too_long", fmt.Sprintf("must have at most %d characters", MaxSubject), "subject")
	case strings.ContainsFunc(subject, unicode.IsControl):
		c.refuse("value_error", "must be one line without control characters", "subject")
	}
	return subject
}

func (c *campaignRequest) from(defaultFrom mail.Address) mail.Address {
	text, given := c.fields["from"]
	if !given {
		if defaultFrom.Address == "" {
			c.missing("from")
		}
		return defaultFrom
	}
	parsed, err := netmail.ParseAddress(text)
	if err == nil {
		parsed.Address, err = recipients.ParseAddress(parsed.Address)
	}
	if err != nil || strings.ContainsFunc(parsed.Name, unicode.IsControl) {
		c.refuse("value_error", "must be one address, such as news@example.com or News <news@example.com>", "from")
		return mail.Address{}
	}
	return mail.Address{Name: parsed.Name, Address: parsed.Address}
}

// isHTML goes by content_type, and where there is none, by the look of the body.
func (c *campaignRequest) isHTML(body string) bool {
	text, given := c.fields["content_type"]
	if !given {
		return campaign.LooksLikeHTML(body)
	}
	switch kind, _, err := mime.ParseMediaType(text); {
	case err == nil && kind == "text/html":
		return true
	case err == nil && kind == "text/plain":
		return false
	}
	c.refuse("literal_error", "must be text/plain or text/html", "content_type")
	return false
}
