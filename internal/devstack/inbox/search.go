package inbox

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/unicode/norm"
)

const (
	// PageSize is how many mails a page of the list has.
	PageSize = 50
	// TextSearchDepth is how many of the newest mails are searched in their text; the others only in addresses,
	// subject and Message-ID.
	TextSearchDepth = 2000

	maxParts = 100 // of one mail, in searching
)

// Page is a part of the list, the newest mail first.
type Page struct {
	Query string `json:"query"`
	// Page counts from 1; Pages is at least 1.
	Page  int `json:"page"`
	Pages int `json:"pages"`
	// Total is the number of mails that the query finds.
	Total    int       `json:"total"`
	Messages []Message `json:"messages"`
}

// list returns a page of the mails in which every word of the query is found.
func (s *store) list(query string, page int) Page {
	words := strings.Fields(fold(query))
	s.mu.RLock()
	entries := s.entries // entries are only ever appended: a copy of the slice stays valid
	s.mu.RUnlock()

	found := make([]Message, 0, PageSize)
	total := 0
	first := (max(page, 1) - 1) * PageSize
	for i, entry := range slices.Backward(entries) {
		if !s.matches(entry.Message, words, len(entries)-i <= TextSearchDepth) {
			continue
		}
		if total >= first && len(found) < PageSize {
			found = append(found, entry.Message)
		}
		total++
		if len(words) == 0 && len(found) == PageSize {
			total = len(entries)
			break
		}
	}
	if len(words) == 0 {
		total = len(entries)
	}
	pages := max(1, (total+PageSize-1)/PageSize)
	if page > pages {
		return s.list(query, pages)
	}
	return Page{Query: query, Page: max(page, 1), Pages: pages, Total: total, Messages: found}
}

func (s *store) matches(m Message, words []string, inText bool) bool {
	if len(words) == 0 {
		return true
	}
	fields := fold(strings.Join([]string{
		m.Sender, strings.Join(m.Recipients, " "), m.From, m.To, m.Subject, m.MessageID,
	}, "\n"))
	missing := make([]string, 0, len(words))
	for _, word := range words {
		if !strings.Contains(fields, word) {
			missing = append(missing, word)
		}
	}
	if len(missing) == 0 || !inText {
		return len(missing) == 0
	}
	_, raw, err := s.raw(m.ID)
	if err != nil {
		return false
	}
	text := fold(searchText(raw))
	for _, word := range missing {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// searchText returns the readable text of a mail, as much as can be had cheaply: it need not be pretty.
func searchText(raw []byte) string {
	reader := bufio.NewReader(bytes.NewReader(raw))
	header, err := textproto.NewReader(reader).ReadMIMEHeader()
	if err != nil {
		return string(raw)
	}
	var text strings.Builder
	parts := 0
	appendText(&text, header, reader, &parts)
	return text.String()
}

// fold makes spellings alike for the search: lower case, without accents.
func fold(s string) string {
	s = strings.ToLower(s)
	if isASCII(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(s))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// stripTags returns what is between the tags of an HTML text, style sheets left out.
func stripTags(page string) string {
	var text strings.Builder
	for page != "" {
		before, rest, found := strings.Cut(page, "<")
		text.WriteString(before)
		text.WriteByte(' ')
		if !found {
			break
		}
		if len(rest) >= 5 && strings.EqualFold(rest[:5], "style") {
			_, rest, _ = strings.Cut(rest, "</")
		}
		_, page, _ = strings.Cut(rest, ">")
	}
	return html.UnescapeString(text.String())
}

func appendText(text *strings.Builder, header textproto.MIMEHeader, body io.Reader, parts *int) {
	if *parts++; *parts > maxParts {
		return
	}
	kind, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		kind = "text/plain"
	}
	switch {
	case strings.HasPrefix(kind, "multipart/"):
		reader := multipart.NewReader(body, params["boundary"])
		for {
			part, err := reader.NextRawPart()
			if err != nil {
				return
			}
			before := text.Len()
			appendText(text, part.Header, part, parts)
			if kind == "multipart/alternative" && text.Len() > before {
				return // the others say the same
			}
		}
	case strings.HasPrefix(kind, "text/"):
		switch strings.ToLower(strings.TrimSpace(header.Get("Content-Transfer-Encoding"))) {
		case "quoted-printable":
			body = quotedprintable.NewReader(body)
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, body)
		}
		if decoded, err := charset.NewReaderLabel(cmp.Or(params["charset"], "utf-8"), body); err == nil {
			body = decoded
		}
		content, _ := io.ReadAll(body) // what was decoded before an error is worth searching
		if kind == "text/html" {
			content = []byte(stripTags(string(content)))
		}
		text.Write(content)
		text.WriteByte('\n')
	}
}
