package render

import (
	"strings"

	"golang.org/x/net/html"
)

// firstMark is the first of the characters that stand for a template's tags while its HTML is taken apart: the second
// private plane, which no text uses.
const (
	firstMark = '\U00100000'
	lastMark  = '\U0010FFFD'
)

// maxIndent is how deeply lists and quotes are indented; deeper ones stay there.
const maxIndent = 8

// event is what a mark stands for: a variable, or where a section begins or ends.
type event struct {
	node
	ends bool
}

// derive makes the template of a text out of that of HTML. It reads HTML token by token, so that it takes one pass
// whatever the nesting, and so that tags stay where they are, between the rows of a table too. The result renders to
// what a reader of the rendered HTML would see; see docs/messages.md. Errors are of type *SyntaxError.
func derive(nodes []node) ([]node, error) {
	d := &deriver{stack: []frame{{text: &strings.Builder{}}}}
	var source strings.Builder
	d.mark(&source, nodes)
	tokens := html.NewTokenizer(strings.NewReader(source.String()))
	for d.err == nil {
		switch kind := tokens.Next(); kind {
		case html.ErrorToken: // the end: reading a string does not fail
			d.endLink()
			return d.finish(), d.err
		case html.TextToken:
			d.text(string(tokens.Text()))
		case html.StartTagToken, html.SelfClosingTagToken:
			d.drop(string(tokens.Raw()))
			d.start(tokens.Token())
		case html.EndTagToken:
			d.drop(string(tokens.Raw()))
			name, _ := tokens.TagName()
			d.end(string(name))
		default: // comments, MSO's conditional ones too, and declarations
			d.drop(string(tokens.Raw()))
		}
	}
	return nil, d.err
}

// mark writes HTML with a mark for each tag.
func (d *deriver) mark(w *strings.Builder, nodes []node) {
	put := func(e event) {
		w.WriteRune(firstMark + rune(len(d.events)))
		d.events = append(d.events, e)
	}
	for _, n := range nodes {
		switch n.kind {
		case literal:
			w.WriteString(strings.Map(func(r rune) rune {
				if r >= firstMark {
					return '\uFFFD'
				}
				return r
			}, n.text))
		case variable, raw:
			put(event{node: node{kind: raw, text: n.text, pos: n.pos}})
		default:
			put(event{node: node{kind: n.kind, text: n.text, pos: n.pos}})
			d.mark(w, n.nodes)
			put(event{node: node{kind: n.kind, text: n.text, pos: n.pos}, ends: true})
		}
	}
}

// deriver writes a text as HTML comes by.
type deriver struct {
	events []event
	stack  []frame
	err    error
	// breaks and space are due before the next character.
	breaks int
	space  bool
	// begun tells that something was written; lineStart that nothing was since the last line break.
	begun bool
	// separator is due between two cells of a row.
	separator bool
	// hidden is the element whose content is left out, and depth how many of its kind are open.
	hidden string
	depth  int
	// ordered are the open lists: the number of the next item, or 0 for a list without.
	ordered []int
	quotes  int
	pre     int
	link    *link
}

// frame is a section that is open in the text. The first is the text itself.
type frame struct {
	section node
	nodes   []node
	text    *strings.Builder
	// dropped tells that it began in something that is left out.
	dropped bool
}

// link is an open <a>.
type link struct {
	target string
	text   strings.Builder
	// depth is how many sections it stands in, and one.
	depth int
}

// put writes characters, which are not blank, with what is due before them.
func (d *deriver) put(text string) {
	if d.breaks > 0 {
		breaks := d.breaks
		d.breaks, d.space, d.separator = 0, false, false
		prefix := strings.Repeat("> ", min(d.quotes, maxIndent))
		if d.begun {
			prefix = strings.Repeat("\n"+prefix, breaks)
		}
		d.write(prefix)
	}
	if d.separator {
		d.write(" | ")
	} else if d.space {
		d.write(" ")
	}
	d.separator, d.space, d.begun = false, false, true
	d.write(text)
	if d.link != nil {
		d.link.text.WriteString(text)
	}
}

func (d *deriver) write(text string) {
	d.stack[len(d.stack)-1].text.WriteString(text)
}

// add appends a node, behind the characters that were written.
func (f *frame) add(n node) {
	f.flush()
	f.nodes = append(f.nodes, n)
}

func (f *frame) flush() {
	if f.text.Len() > 0 {
		f.nodes = append(f.nodes, node{kind: literal, text: f.text.String()})
		f.text = &strings.Builder{}
	}
}

// text writes a run of text, its blanks collapsed unless it is preformatted.
func (d *deriver) text(text string) {
	if d.hidden != "" {
		d.drop(text)
		return
	}
	for text != "" && d.err == nil {
		i := strings.IndexFunc(text, func(r rune) bool { return isBlank(r) || isInvisible(r) || r >= firstMark && r <= lastMark })
		if i < 0 {
			d.put(text)
			return
		}
		if i > 0 {
			d.put(text[:i])
		}
		r := []rune(text[i:min(len(text), i+4)])[0]
		text = text[i+len(string(r)):]
		d.special(r)
	}
}

// special handles one character that is a blank, invisible or a mark.
func (d *deriver) special(r rune) {
	switch {
	case r >= firstMark:
		d.event(d.events[r-firstMark], false)
	case r == '\n' && d.pre > 0:
		d.breaks = min(d.breaks+1, 2)
	case isBlank(r) && d.pre > 0 && r != '\r':
		d.put(" ")
	case isBlank(r):
		d.space = d.space || d.begun && d.breaks == 0
	case r == '\u200c' || r == '\u200d':
		// Within a word they join letters or emoji; in a row between blanks they only pad a preview.
		if !d.space && d.breaks == 0 && d.begun {
			d.put(string(r))
		}
	}
}

// isBlank reports whether HTML shows a character as a space.
func isBlank(r rune) bool {
	return r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\f' || r == '\u00a0'
}

// isInvisible reports whether a character is only there for HTML's line breaks, or to pad a preview.
func isInvisible(r rune) bool {
	return r == '\u00ad' || r == '\u034f' || r >= '\u200b' && r <= '\u200d' || r == '\ufeff'
}

// event writes what a mark stands for. A section begins and ends before the blanks that are due: they belong to what
// comes next.
func (d *deriver) event(e event, dropped bool) {
	top := &d.stack[len(d.stack)-1]
	switch {
	case e.kind == raw && dropped:
	case e.kind == raw:
		d.put("")
		top.add(e.node)
		if d.link != nil {
			d.link.text.WriteString("{" + e.text + "}")
		}
	case !e.ends:
		d.stack = append(d.stack, frame{section: e.node, text: &strings.Builder{}, dropped: dropped})
	case top.dropped != dropped || top.section.pos != e.pos:
		d.err = entangled(e.node)
	default:
		if d.link != nil && d.link.depth == len(d.stack) { // it began in the section, and is not closed in it
			d.endLink()
			top = &d.stack[len(d.stack)-1]
		}
		top.flush()
		closed := top.section
		closed.nodes = top.nodes
		d.stack = d.stack[:len(d.stack)-1]
		if !dropped && len(closed.nodes) > 0 {
			d.stack[len(d.stack)-1].add(closed)
		}
	}
}

// entangled is the error on a section that begins where its end cannot be found, or the other way round.
func entangled(n node) error {
	return &SyntaxError{
		Field: "html", Position: n.pos, Reason: "no text can be made of the HTML, because the section of " + quote(n.text) +
			" begins inside a comment, a tag or what is not shown, and ends outside, or the other way round: give the text as well",
	}
}

// drop passes over what is left out; sections must begin and end in it.
func (d *deriver) drop(text string) {
	for _, r := range text {
		if r >= firstMark && r <= lastMark && d.err == nil {
			d.event(d.events[r-firstMark], true)
		}
	}
}

func (d *deriver) finish() []node {
	root := &d.stack[0]
	if n := len(d.stack); n > 1 && d.err == nil {
		d.err = entangled(d.stack[n-1].section)
	}
	if d.begun {
		d.breaks, d.space = 0, false
		root.text.WriteString("\n")
	}
	root.flush()
	return root.nodes
}
