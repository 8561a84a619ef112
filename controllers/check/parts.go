package check

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"unicode"
)

// Parts is a message taken apart again, as a mail program does.
type Parts struct {
	// Fields are the header fields in their order, decoded.
	Fields [][2]string
	// Text and HTML are the bodies; empty for none.
	Text, HTML string
	// Files are attachments and images.
	Files []File
}

// File is an attachment, or an image of the HTML.
type File struct {
	Name, ContentType string
	// ContentID is that of an image; empty for an attachment.
	ContentID string
	Data      []byte
}

// Parts takes the message apart.
func (p *Preview) Parts() (*Parts, error) {
	message, err := mail.ReadMessage(bytes.NewReader(p.Raw))
	if err != nil {
		return nil, fmt.Errorf("reading the message: %w", err)
	}
	parts := &Parts{Fields: fields(p.Raw)}
	if err := parts.read(message.Header.Get, message.Body); err != nil {
		return nil, fmt.Errorf("reading the message: %w", err)
	}
	return parts, nil
}

// fields reads the header in its order, which net/mail does not keep.
func fields(raw []byte) [][2]string {
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	unfolded := strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(string(head))
	decoder := &mime.WordDecoder{}
	var out [][2]string
	for line := range strings.SplitSeq(unfolded, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if decoded, err := decoder.DecodeHeader(value); err == nil {
			value = decoded
		}
		out = append(out, [2]string{name, value})
	}
	return out
}

func (p *Parts) read(header func(string) string, body io.Reader) error {
	mediaType, params, err := mime.ParseMediaType(header("Content-Type"))
	if err != nil {
		return err
	}
	if strings.HasPrefix(mediaType, "multipart/") {
		parts := multipart.NewReader(body, params["boundary"])
		for {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := p.read(part.Header.Get, part); err != nil {
				return err
			}
		}
	}
	switch strings.ToLower(header("Content-Transfer-Encoding")) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	disposition, named, _ := mime.ParseMediaType(header("Content-Disposition"))
	switch {
	case disposition == "" && mediaType == "text/plain" && p.Text == "":
		p.Text = strings.ReplaceAll(string(data), "\r\n", "\n")
	case disposition == "" && mediaType == "text/html" && p.HTML == "":
		p.HTML = strings.ReplaceAll(string(data), "\r\n", "\n")
	default:
		p.Files = append(p.Files, File{
			Name: named["filename"], ContentType: mediaType, ContentID: strings.Trim(header("Content-ID"), "<>"), Data: data,
		})
	}
	return nil
}

// Page is the HTML with its images in it, for a browser; empty where the message has no HTML.
func (p *Parts) Page() string {
	page := p.HTML
	images := slices.Clone(p.Files) // the longest id first: one may begin with another
	slices.SortFunc(images, func(a, b File) int { return len(b.ContentID) - len(a.ContentID) })
	for _, f := range images {
		if f.ContentID != "" {
			page = strings.ReplaceAll(page, "cid:"+f.ContentID, "data:"+f.ContentType+";base64,"+base64.StdEncoding.EncodeToString(f.Data))
		}
	}
	return page
}

// WriteTerminal writes header, text and what is attached, without what could steer a terminal.
func (p *Parts) WriteTerminal(w io.Writer) error {
	var text strings.Builder
	for _, f := range p.Fields {
		fmt.Fprintf(&text, "%s: %s\n", f[0], f[1])
	}
	text.WriteString("\n")
	switch {
	case p.Text != "":
		text.WriteString(strings.TrimRight(p.Text, "\n") + "\n")
	default:
		text.WriteString("(There is no text part.)\n")
	}
	if p.HTML != "" {
		fmt.Fprintf(&text, "\nHTML: %d bytes; --output html shows it.\n", len(p.HTML))
	}
	for _, f := range p.Files {
		what := "Attachment"
		if f.ContentID != "" {
			what = "Image"
		}
		fmt.Fprintf(&text, "\n%s: %s (%s, %d bytes)\n", what, f.Name, f.ContentType, len(f.Data))
	}
	_, err := io.WriteString(w, printable(text.String()))
	return err
}

// printable replaces control characters but line ends and tabs.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '\ufffd'
		}
		return r
	}, text)
}
