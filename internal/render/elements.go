package render

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// Elements by what they do to a text.
var (
	hiddenElements = []string{"head", "style", "script", "title", "template", "svg", "object", "iframe", "select", "map"}
	paragraphs     = []string{"p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "hr", "ul", "ol", "dl"}
	lines          = []string{
		"address", "article", "aside", "body", "caption", "center", "dd", "details", "div", "dt", "fieldset", "figcaption",
		"figure", "footer", "form", "header", "html", "legend", "li", "main", "nav", "option", "section", "summary", "table",
		"tbody", "tfoot", "thead", "tr",
	}
	voidElements = []string{"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
)

// block asks for line breaks before what comes next.
func (d *deriver) block(name string) {
	switch {
	case (name == "ul" || name == "ol") && len(d.ordered) > 0: // a list in a list is no paragraph
		d.breaks = max(d.breaks, 1)
	case slices.Contains(paragraphs, name):
		d.breaks = 2
	case slices.Contains(lines, name):
		d.breaks = max(d.breaks, 1)
	}
}

func (d *deriver) start(t html.Token) {
	name := t.Data
	if d.hides(t) {
		return
	}
	if name != "li" { // its marker is on its line
		d.block(name)
	}
	switch name {
	case "br":
		d.breaks = min(d.breaks+1, 2)
	case "hr":
		d.put("---")
		d.breaks = 2
	case "ul":
		d.ordered = append(d.ordered, 0)
	case "ol":
		d.ordered = append(d.ordered, 1)
	case "li":
		d.item()
	case "td", "th":
		d.separator = d.begun && d.breaks == 0
	case "blockquote":
		d.quotes++
	case "pre":
		d.pre++
	case "a":
		d.endLink()
		if target := strings.TrimSpace(attribute(t.Attr, "href")); target != "" && target[0] != '#' {
			d.link = &link{target: strings.TrimPrefix(target, "mailto:"), depth: len(d.stack)}
		}
	case "img":
		d.text(attribute(t.Attr, "alt"))
	}
}

// hides reports whether an element is in one that is not shown, or is one itself.
func (d *deriver) hides(t html.Token) bool {
	name := t.Data
	opens := t.Type == html.StartTagToken && !slices.Contains(voidElements, name)
	switch {
	case d.hidden == "head" && name == "body":
		d.hidden = ""
		return false
	case d.hidden != "":
		if name == d.hidden && opens {
			d.depth++
		}
		return true
	case slices.Contains(hiddenElements, name) || isHidden(t.Attr):
		if opens {
			d.hidden, d.depth = name, 1
		}
		return true
	default:
		return false
	}
}

func (d *deriver) end(name string) {
	if d.hidden != "" {
		if name == d.hidden {
			if d.depth--; d.depth == 0 {
				d.hidden = ""
			}
		}
		return
	}
	switch name {
	case "ul", "ol":
		d.ordered = d.ordered[:max(len(d.ordered)-1, 0)]
	case "blockquote":
		d.quotes = max(d.quotes-1, 0)
	case "pre":
		d.pre = max(d.pre-1, 0)
	case "a":
		d.endLink()
	}
	d.block(name)
}

// item begins an item of a list with its marker.
func (d *deriver) item() {
	d.breaks = max(d.breaks, 1)
	marker := "- "
	if n := len(d.ordered); n > 0 && d.ordered[n-1] > 0 {
		marker = strconv.Itoa(d.ordered[n-1]) + ". "
		d.ordered[n-1]++
	}
	d.put(strings.Repeat("  ", min(max(len(d.ordered)-1, 0), maxIndent)) + marker)
}

// endLink writes a link's target behind its text, unless they are the same.
func (d *deriver) endLink() {
	if d.link == nil {
		return
	}
	l := d.link
	d.link = nil
	var target strings.Builder // as link.text has it
	for _, r := range l.target {
		if r >= firstMark && r <= lastMark && d.events[r-firstMark].kind == raw {
			target.WriteString("{" + d.events[r-firstMark].text + "}")
			continue
		}
		target.WriteRune(r)
	}
	shown := l.text.String()
	if shown == target.String() || "http://"+shown == target.String() || "https://"+shown == target.String() {
		return
	}
	if shown == "" {
		d.text(l.target)
		return
	}
	d.space = true
	d.put("(")
	d.text(l.target)
	d.space = false
	d.put(")")
}

func attribute(attributes []html.Attribute, key string) string {
	for _, a := range attributes {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// isHidden reports whether an element is not shown, such as the preview text of a newsletter.
func isHidden(attributes []html.Attribute) bool {
	for _, a := range attributes {
		if a.Key == "hidden" {
			return true
		}
		if a.Key == "style" && strings.Contains(strings.ToLower(strings.Join(strings.Fields(a.Val), "")), "display:none") {
			return true
		}
	}
	return false
}
