package render

import (
	"strings"
	"unicode/utf8"
)

// kind is what a node is.
type kind uint8

const (
	literal  kind = iota // text that stays as it is
	variable             // {{name}}
	raw                  // {{{name}}} or {{&name}}
	section              // {{#name}}…{{/name}}
	inverted             // {{^name}}…{{/name}}
)

// node is a part of a parsed template.
type node struct {
	kind kind
	// text is a literal's text, or else a variable's name.
	text string
	pos  Position
	// nodes are a section's content.
	nodes []node
}

// parser reads one template. It follows Mustache's specification, standalone lines included.
type parser struct {
	field, source string
	at            int
	open          []openSection
	locate        locator
}

// openSection is a section whose end has not come yet.
type openSection struct {
	node
	// closes is what its end has to name.
	closes string
}

// tag is what stands between two pairs of braces.
type tag struct {
	// sigil is the character that says what the tag is: 0 for a variable, '{' for three braces.
	sigil byte
	// body is the rest, without spaces around it.
	body       string
	start, end int
}

// parse reads a template. All errors are of type *SyntaxError.
func parse(field, source string) ([]node, error) {
	p := parser{field: field, source: source, open: make([]openSection, 1), locate: locator{source: source, line: 1, column: 1}}
	for {
		i := strings.Index(source[p.at:], "{{")
		if i < 0 {
			p.literal(source[p.at:])
			break
		}
		if err := p.tag(p.at + i); err != nil {
			return nil, err
		}
	}
	if last := p.open[len(p.open)-1]; len(p.open) > 1 {
		return nil, p.errorAt(last.pos, "the section of "+quote(last.closes)+" is never closed: write {{/"+last.closes+"}} where it ends")
	}
	return joined(p.open[0].nodes), nil
}

// tag reads the tag that starts at an offset, with the literal before it.
func (p *parser) tag(start int) error {
	t, err := p.read(start)
	if err != nil {
		return err
	}
	before := p.source[p.at:start]
	p.at = t.end
	if t.sigil != 0 && strings.IndexByte("#^/!", t.sigil) >= 0 {
		if text, end, alone := p.standalone(before, t); alone {
			before, p.at = text, end
		}
	}
	p.literal(before)
	return p.add(t)
}

// standalone reports whether a tag is all that its line holds: such a line leaves nothing behind. It returns the text
// before the line, and where the line ends. before is what precedes the tag, back to the previous one.
func (p *parser) standalone(before string, t tag) (text string, end int, ok bool) {
	text = strings.TrimRight(before, " \t")
	if from := t.start - len(before) + len(text); from > 0 && p.source[from-1] != '\n' {
		return "", 0, false
	}
	rest := strings.TrimLeft(p.source[t.end:], " \t")
	end = len(p.source) - len(rest)
	switch {
	case strings.HasPrefix(rest, "\n"):
		return text, end + 1, true
	case strings.HasPrefix(rest, "\r\n"):
		return text, end + 2, true
	default:
		// Blanks at the very end, without a line break, are left, as the reference does.
		return text, end, t.end == len(p.source)
	}
}

// read finds the end of the tag that starts at an offset.
func (p *parser) read(start int) (tag, error) {
	t := tag{start: start}
	inner := p.source[start+2:]
	closing := "}}"
	if strings.HasPrefix(inner, "{") {
		closing = "}}}"
	}
	length := strings.Index(inner, closing)
	if length < 0 {
		return t, p.errorf(start, "this "+strings.Repeat("{", len(closing))+" is never closed: write "+closing+" behind the name")
	}
	t.end = start + 2 + length + len(closing)
	t.body = strings.TrimSpace(inner[:length])
	if t.body != "" && strings.IndexByte("{&#^/!>=", t.body[0]) >= 0 {
		t.sigil, t.body = t.body[0], strings.TrimSpace(t.body[1:])
	}
	if t.sigil == '!' {
		if strings.HasPrefix(t.body, "--") && (len(t.body) < 4 || !strings.HasSuffix(inner[:length], "--")) {
			return t, p.errorf(start, "this comment begins with {{!-- and its first }} is not preceded by --: Mustache and Handlebars "+
				"disagree about where it ends; write --}} where it ends, and no }} within")
		}
		return t, nil
	}
	return t, p.check(t)
}

// add puts a tag's node where it belongs.
func (p *parser) add(t tag) error {
	top := &p.open[len(p.open)-1]
	pos := p.locate.at(t.start)
	switch t.sigil {
	case '!':
	case '#', '^':
		if len(p.open) > MaxDepth {
			return p.errorAt(pos, "sections are nested more than 32 deep")
		}
		n := node{kind: section, text: t.body, pos: pos}
		if t.sigil == '^' {
			n.kind = inverted
		}
		p.open = append(p.open, openSection{node: n, closes: t.body})
	case '/':
		if len(p.open) == 1 {
			return p.errorAt(pos, "{{/"+t.body+"}} closes a section that was not opened")
		}
		if top.closes != t.body {
			return p.errorAt(pos, "{{/"+t.body+"}} stands where {{/"+top.closes+"}} must: sections close in the reverse order")
		}
		closed := top.node
		p.open = p.open[:len(p.open)-1]
		parent := &p.open[len(p.open)-1]
		parent.nodes = append(parent.nodes, closed)
	default:
		n := node{kind: variable, text: t.body, pos: pos}
		if t.sigil != 0 {
			n.kind = raw
		}
		if n.text == "." {
			if n.text = p.implicit(); n.text == "" {
				return p.errorAt(pos, "{{.}} is the value of the section around it, and there is none: write the variable's name")
			}
		}
		top.nodes = append(top.nodes, n)
	}
	return nil
}

// implicit is the name that {{.}} stands for: that of the innermost section which is not inverted.
func (p *parser) implicit() string {
	for i := len(p.open) - 1; i > 0; i-- {
		if p.open[i].kind == section {
			return p.open[i].text
		}
	}
	return ""
}

// literal adds a text to what is being read.
func (p *parser) literal(text string) {
	if text != "" {
		top := &p.open[len(p.open)-1]
		top.nodes = append(top.nodes, node{kind: literal, text: text})
	}
}

// joined makes one literal of those that follow each other, around a comment for example.
func joined(nodes []node) []node {
	out := nodes[:0]
	for i := 0; i < len(nodes); {
		end := i
		for end < len(nodes) && nodes[end].kind == literal {
			end++
		}
		switch {
		case end > i+1:
			var text strings.Builder
			for _, n := range nodes[i:end] {
				text.WriteString(n.text)
			}
			out = append(out, node{kind: literal, text: text.String()})
		case end == i:
			n := nodes[i]
			n.nodes = joined(n.nodes)
			out = append(out, n)
			end++
		default:
			out = append(out, nodes[i])
		}
		i = end
	}
	return out
}

func (p *parser) errorf(offset int, reason string) error {
	return p.errorAt(p.locate.at(offset), reason)
}

func (p *parser) errorAt(pos Position, reason string) error {
	return &SyntaxError{Field: p.field, Position: pos, Reason: reason}
}

// locator turns offsets, asked for in ascending order, into positions. The whole costs one pass over the source.
type locator struct {
	source       string
	offset       int
	line, column int
}

func (l *locator) at(offset int) Position {
	passed := l.source[l.offset:offset]
	if i := strings.LastIndexByte(passed, '\n'); i >= 0 {
		l.line += strings.Count(passed, "\n")
		l.column = 1
		passed = passed[i+1:]
	}
	l.column += utf8.RuneCountInString(passed)
	l.offset = offset
	return Position{Line: l.line, Column: l.column}
}
