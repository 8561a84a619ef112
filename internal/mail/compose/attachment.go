package compose

import (
	"encoding/base64"
	"mime"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cartero-mail/cartero/internal/mail"
)

// The limits on attachments.
const (
	// MaxAttachments is how large all attachments of a mail may be together, in octets before they are encoded.
	MaxAttachments = 10 << 20
	maxFileName    = 255
	maxContentID   = 200
)

// attachments encodes the attachments: images that belong to the HTML, and files.
func (b *builder) attachments(hasHTML bool) (images, files []entity, err error) {
	total := 0
	ids := map[string]bool{}
	for i := range b.content.Attachments {
		a := &b.content.Attachments[i]
		if total += len(a.Data); total > MaxAttachments {
			return nil, nil, invalid("attachments", "are larger than "+strconv.Itoa(MaxAttachments)+" octets together")
		}
		if a.ContentID != "" && ids[a.ContentID] {
			return nil, nil, invalid("attachments", "hold two with the content id "+strconv.Quote(a.ContentID))
		}
		ids[a.ContentID] = true
		e, err := attachment(a)
		if err != nil {
			return nil, nil, err
		}
		if a.ContentID != "" && hasHTML {
			images = append(images, e)
			b.template.images = append(b.template.images, a.ContentID)
		} else {
			files = append(files, e)
		}
	}
	return images, files, nil
}

// attachment encodes one.
func attachment(a *mail.Attachment) (entity, error) {
	where := func(reason string) error { return invalid("attachments", reason) }
	name := a.Name
	if name == "" || len(name) > maxFileName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || r == '/' || r == '\\' || r == '\u2028' || r == '\u2029'
	}) {
		return entity{}, where("hold one whose name is empty, longer than 255 octets, or has control characters or slashes")
	}
	media, parameters, err := mime.ParseMediaType(a.ContentType)
	if err != nil || !strings.Contains(media, "/") {
		return entity{}, where("hold one whose content type is not of the form type/subtype: " + strconv.Quote(name))
	}
	if strings.HasPrefix(media, "multipart/") || strings.HasPrefix(media, "message/") {
		return entity{}, where("hold one of type " + strconv.Quote(media) + ", which cannot be attached as a file: " + strconv.Quote(name))
	}
	contentType := mime.FormatMediaType(media, parameters)
	if contentType == "" || len(contentType) > 200 || !isPrintable(contentType) {
		return entity{}, where("hold one whose content type has parameters that cannot be written: " + strconv.Quote(name))
	}
	header := "Content-Transfer-Encoding: base64\r\nContent-Type: " + contentType + "\r\n"
	disposition := "attachment"
	if a.ContentID != "" {
		if !validContentID(a.ContentID) {
			return entity{}, where("hold one whose content id has characters other than letters, digits and ._+-@: " + strconv.Quote(name))
		}
		disposition = "inline"
		header += "Content-ID: <" + a.ContentID + ">\r\n"
	}
	header += "Content-Disposition: " + disposition + fileName(name) + "\r\n"
	data := make([]byte, 0, base64.StdEncoding.EncodedLen(len(a.Data))*78/76+4)
	return entity{header: header, data: appendBase64(data, a.Data)}, nil
}

// Warnings are what a mail can be sent with, and is seldom meant: images that the HTML shows and no attachment is, and
// attached images that it does not show.
func (t *Template) Warnings() []string {
	html := t.program.HTML()
	if html == nil {
		return nil
	}
	var found []string
	shown := map[string]bool{}
	for _, text := range html.Literals() {
		for {
			_, rest, ok := strings.Cut(text, "cid:")
			if !ok {
				break
			}
			end := strings.IndexFunc(rest, func(r rune) bool { return r >= utf8.RuneSelf || !validContentID(string(r)) })
			if text = rest; end <= 0 || strings.IndexByte("\"'> )&", rest[end]) < 0 {
				continue // prose, or a name that a variable completes
			}
			id := rest[:end]
			if !shown[id] && !slices.Contains(t.images, id) {
				found = append(found, "html shows cid:"+id+", and no attachment has that content id")
			}
			shown[id] = true
		}
	}
	for _, id := range t.images {
		if !shown[id] {
			found = append(found, "html does not show the attachment with the content id "+id)
		}
	}
	return found
}

func validContentID(id string) bool {
	if len(id) > maxContentID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && strings.IndexByte("._+-@", c) < 0 {
			return false
		}
	}
	return true
}

// fileName is the parameter of Content-Disposition: quoted where it is short ASCII, else as RFC 2231 has it, in pieces
// that fit on a line each.
func fileName(name string) string {
	const short = 54
	if len(name) <= short && isPrintable(name) {
		return ";\r\n filename=\"" + strings.ReplaceAll(name, `"`, `\"`) + `"`
	}
	encoded := make([]string, 0, len(name)) // each character, so that none is cut
	total := 0
	for _, r := range name {
		piece := percent(string(r))
		encoded = append(encoded, piece)
		total += len(piece)
	}
	if total <= short {
		return ";\r\n filename*=UTF-8''" + strings.Join(encoded, "")
	}
	var b strings.Builder
	number, line := 0, short
	for _, piece := range encoded {
		if line+len(piece) > short {
			b.WriteString(";\r\n filename*" + strconv.Itoa(number) + "*=")
			if number == 0 {
				b.WriteString("UTF-8''")
			}
			number++
			line = 0
		}
		b.WriteString(piece)
		line += len(piece)
	}
	return b.String()
}

// percent encodes what RFC 2231's attribute-char is not.
func percent(text string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("!#$&+-.^_`{|}~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteString("%" + string(upperHex[c>>4]) + string(upperHex[c&15]))
	}
	return b.String()
}
