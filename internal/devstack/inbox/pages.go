package inbox

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxShownRaw is how much of a mail's source the page shows; the download has all of it.
const maxShownRaw = 512 << 10

// listPage is what list.html shows.
type listPage struct {
	Page
	Summary  Summary
	SMTPAddr string
	// Older and Newer are the links to the neighbouring pages; empty where there is none.
	Older, Newer string
}

func pageNumber(r *http.Request) int {
	n, err := strconv.Atoi(r.FormValue("page"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// showList is the list. With ?fragment=1 it is its changing part alone, for the live update.
func (in *Inbox) showList(w http.ResponseWriter, r *http.Request) {
	page := listPage{Page: in.store.list(strings.TrimSpace(r.FormValue("query")), pageNumber(r)), Summary: in.Summary(), SMTPAddr: in.SMTPAddr()}
	link := func(number int) string {
		values := url.Values{"page": {strconv.Itoa(number)}}
		if page.Query != "" {
			values.Set("query", page.Query)
		}
		return "/?" + values.Encode()
	}
	if page.Page.Page > 1 {
		page.Newer = link(page.Page.Page - 1)
	}
	if page.Page.Page < page.Pages {
		page.Older = link(page.Page.Page + 1)
	}
	name := "list.html"
	if r.FormValue("fragment") != "" {
		name = "messages"
	}
	in.render(w, name, page)
}

// messagePage is what message.html shows.
type messagePage struct {
	Message
	Content
	// View is the tab: html, text, headers or raw.
	View string
	// Images says whether remote images are shown; HasRemote whether there may be any.
	Images, HasRemote bool
	Raw               string
	RawCut            bool
	// Newer and Older are the neighbours' ids; 0 where there is none.
	Newer, Older uint64
}

func (in *Inbox) showMessage(w http.ResponseWriter, r *http.Request) {
	message, raw, err := in.message(r)
	if err != nil {
		in.fail(w, err)
		return
	}
	page := messagePage{Message: message, Content: parseContent(raw), Images: r.FormValue("images") != ""}
	page.HasRemote = strings.Contains(page.HTML, "http://") || strings.Contains(page.HTML, "https://")
	page.Newer, page.Older = in.store.neighbours(message.ID)
	switch view := r.FormValue("view"); {
	case view == "html" || view == "text" || view == "headers" || view == "raw":
		page.View = view
	case page.HTML != "":
		page.View = "html"
	default:
		page.View = "text"
	}
	if page.View == "raw" {
		page.RawCut = len(raw) > maxShownRaw
		page.Raw = strings.ToValidUTF8(string(raw[:min(len(raw), maxShownRaw)]), "\ufffd")
	}
	in.render(w, "message.html", page)
}

// neighbours returns the ids next to id; 0 where there is none.
func (s *store) neighbours(id uint64) (newer, older uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e, ok := s.find(id + 1); ok {
		newer = e.ID
	}
	if e, ok := s.find(id - 1); ok {
		older = e.ID
	}
	return newer, older
}

// showHTML is the mail's HTML for the frame: under a policy that runs nothing and, unless asked, loads nothing.
func (in *Inbox) showHTML(w http.ResponseWriter, r *http.Request) {
	_, raw, err := in.message(r)
	if err != nil {
		in.fail(w, err)
		return
	}
	remote := ""
	if r.FormValue("images") != "" {
		remote = " https: http:"
	}
	header := w.Header()
	header.Set("Content-Security-Policy", fmt.Sprintf(mailPolicy, remote, remote))
	header.Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(parseContent(raw).document())) //nolint:gosec // the mail's own HTML, under mailPolicy: no scripts, no origin
}

// download writes bytes of a mail as a file to save. They are never shown by the browser itself, and never more than
// bytes: with a type of its own, a script sent as an attachment would be one from 'self' in the eyes of pagePolicy.
func download(w http.ResponseWriter, contentType, disposition string, content []byte) {
	header := w.Header()
	header.Set("Content-Security-Policy", downloadPolicy)
	header.Set("Content-Disposition", disposition)
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content) //nolint:gosec // to save, not to show, and not to sniff
}

// showRaw is the download of the mail as it came.
func (in *Inbox) showRaw(w http.ResponseWriter, r *http.Request) {
	message, raw, err := in.message(r)
	if err != nil {
		in.fail(w, err)
		return
	}
	download(w, "message/rfc822", fmt.Sprintf(`attachment; filename="message-%d.eml"`, message.ID), raw)
}

// showAttachment is the download of an attachment, whatever type it claims.
func (in *Inbox) showAttachment(w http.ResponseWriter, r *http.Request) {
	_, raw, err := in.message(r)
	if err != nil {
		in.fail(w, err)
		return
	}
	attachments := parseContent(raw).Attachments
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil || number < 1 || number > len(attachments) {
		in.fail(w, errNotFound)
		return
	}
	attachment := attachments[number-1]
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": attachment.Name})
	if disposition == "" {
		disposition = "attachment"
	}
	download(w, "application/octet-stream", disposition, attachment.content)
}

func (in *Inbox) clearFromPage(w http.ResponseWriter, r *http.Request) {
	if err := in.Clear(); err != nil {
		in.fail(w, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
