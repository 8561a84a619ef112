package inbox

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"strings"

	"github.com/jhillyerd/enmime/v2"
)

// Content is a mail taken apart.
type Content struct {
	// Headers are the header fields in their order, decoded.
	Headers []HeaderField `json:"headers"`
	// Text and HTML are the bodies, in UTF-8; empty where the mail has none.
	Text string `json:"text"`
	HTML string `json:"html"`
	// Attachments are the parts that are neither.
	Attachments []Attachment `json:"attachments"`
	// Problems says what of the mail could not be understood.
	Problems []string `json:"problems,omitempty"`

	inline map[string]*enmime.Part // by Content-ID
}

// HeaderField is one field of a header.
type HeaderField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Attachment is a part of a mail that is not its text.
type Attachment struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Size int    `json:"size"`

	content []byte
}

// parseContent takes a mail apart. One that makes no sense is shown as plain text with a problem.
func parseContent(raw []byte) Content {
	content := Content{Headers: headerFields(raw), Attachments: []Attachment{}, inline: map[string]*enmime.Part{}}
	envelope, err := enmime.ReadEnvelope(bytes.NewReader(raw))
	if err != nil {
		content.Text = strings.ToValidUTF8(string(raw), "\ufffd")
		content.Problems = []string{"The mail could not be taken apart: " + err.Error()}
		return content
	}
	content.HTML = strings.ToValidUTF8(envelope.HTML, "\ufffd")
	if hasText(envelope.Root) { // enmime makes a text out of the HTML where there is none: show what was sent
		content.Text = strings.ToValidUTF8(envelope.Text, "\ufffd")
	}
	for _, problem := range envelope.Errors {
		content.Problems = append(content.Problems, problem.Error())
	}
	for _, parts := range [][]*enmime.Part{envelope.Attachments, envelope.Inlines, envelope.OtherParts} {
		for _, part := range parts {
			if part.ContentID != "" {
				content.inline[part.ContentID] = part
			}
			name := part.FileName
			if name == "" {
				name = "part"
			}
			content.Attachments = append(content.Attachments, Attachment{
				Name: name, Type: part.ContentType, Size: len(part.Content), content: part.Content,
			})
		}
	}
	return content
}

func hasText(part *enmime.Part) bool {
	for ; part != nil; part = part.NextSibling {
		kind := strings.ToLower(part.ContentType)
		if (kind == "" || kind == "text/plain") && part.FirstChild == nil || hasText(part.FirstChild) {
			return true
		}
	}
	return false
}

// headerFields splits the header into its fields: unfolded, in order, repeated ones too.
func headerFields(raw []byte) []HeaderField {
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	fields := []HeaderField{}
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if line != "" && (line[0] == ' ' || line[0] == '\t') && len(fields) > 0 {
			last := &fields[len(fields)-1]
			last.Value += " " + strings.TrimSpace(line)
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		fields = append(fields, HeaderField{Name: name, Value: strings.TrimSpace(value)})
	}
	for i := range fields {
		fields[i].Value = decodeHeader(fields[i].Value)
		fields[i].Name = strings.ToValidUTF8(fields[i].Name, "\ufffd")
	}
	return fields
}

var (
	contentIDLink = regexp.MustCompile(`(?i)cid:([^"'\s>)]+)`)
	headTag       = regexp.MustCompile(`(?i)<head(\s[^>]*)?>`)
	imageType     = regexp.MustCompile(`^image/[a-z0-9.+-]+$`)
)

// document returns the HTML body for the sandboxed frame: images of the mail itself in place, links opening elsewhere.
// It is the mail's own HTML otherwise, scripts and all: the frame's sandbox and policy keep them from running.
func (c Content) document() string {
	page := contentIDLink.ReplaceAllStringFunc(c.HTML, func(link string) string {
		part := c.inline[link[len("cid:"):]]
		if part == nil || !imageType.MatchString(strings.ToLower(part.ContentType)) {
			return link
		}
		return "data:" + strings.ToLower(part.ContentType) + ";base64," + base64.StdEncoding.EncodeToString(part.Content)
	})
	const base = `<base target="_blank">`
	if at := headTag.FindStringIndex(page); at != nil {
		return page[:at[1]] + base + page[at[1]:]
	}
	return page + base // not before a doctype, which would change the layout
}
