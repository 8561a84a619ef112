package render

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
)

// Templates are the texts of a campaign's message.
type Templates struct {
	Subject string
	// Text and HTML are the bodies; empty for none.
	Text string
	HTML string
	// Headers are additional header fields, by name. Only their values are templates.
	Headers map[string]string
	// Verbatim says that the texts are no templates: whatever they hold stays as it is.
	Verbatim bool
	// DeriveText makes a text from the HTML where there is none. See docs/messages.md for how it reads.
	DeriveText bool
}

// Header is an additional header field.
type Header struct {
	Name  string
	Value *Template
}

// Variable is a variable that templates use.
type Variable struct {
	Name string
	// Required tells that every recipient must have it: it is used outside of any section, in a template that has no
	// inverted section over it. Whether one of the others is missing depends on the recipient: Check decides it.
	Required bool
	// BuiltIn tells that it is email, name or unsubscribeURL.
	BuiltIn bool
	// Field and Position are where it is first required, or else first used.
	Field string
	Position
}

// Program is the compiled templates of a message. It is immutable, and safe for concurrent use.
type Program struct {
	subject, text, html *Template
	headers             []Header
	names               []string
	variables           []Variable
	checks              []*Template
}

// Compile reads templates. Errors are of type *SyntaxError or *SizeError; the first in the order subject, text, html,
// headers by name.
func Compile(t Templates) (*Program, error) {
	c := &compiler{names: map[string]int32{}}
	p := &Program{}
	var err error
	if p.subject, _, err = c.field("subject", t.Subject, modeHeader, t.Verbatim); err != nil {
		return nil, err
	}
	if t.Text != "" {
		if p.text, _, err = c.field("text", t.Text, modeText, t.Verbatim); err != nil {
			return nil, err
		}
	}
	if t.HTML != "" {
		var nodes []node
		if p.html, nodes, err = c.field("html", t.HTML, modeHTML, t.Verbatim); err != nil {
			return nil, err
		}
		if t.Text == "" && t.DeriveText {
			if nodes, err = derive(nodes); err != nil {
				return nil, err
			}
			if len(nodes) > 0 {
				p.text = c.compile("html", modeText, MaxBody, nodes)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Headers)) {
		value, _, err := c.field("headers["+name+"]", t.Headers[name], modeHeader, t.Verbatim)
		if err != nil {
			return nil, err
		}
		p.headers = append(p.headers, Header{Name: name, Value: value})
	}
	p.finish(c)
	return p, nil
}

// field compiles one template.
func (c *compiler) field(field, source string, m mode, verbatim bool) (*Template, []node, error) {
	limit := MaxBody
	if m == modeHeader {
		limit = MaxHeader
	}
	if longest := min(MaxTemplate, limit); len(source) > longest && !verbatim {
		return nil, nil, &SizeError{Field: field, Limit: longest}
	}
	if verbatim {
		var nodes []node
		if source != "" {
			nodes = []node{{kind: literal, text: source}}
		}
		return c.compile(field, m, math.MaxInt, nodes), nodes, nil
	}
	if i := strings.IndexAny(source, "\r\n\x00"); m == modeHeader && i >= 0 {
		at := locator{source: source, line: 1, column: 1}
		return nil, nil, &SyntaxError{field, at.at(i), "a header field is one line: remove the line break or NUL"}
	}
	nodes, err := parse(field, source)
	if err != nil {
		return nil, nil, err
	}
	return c.compile(field, m, limit, nodes), nodes, nil
}

// finish notes what checking needs: the templates that can fail.
func (p *Program) finish(c *compiler) {
	p.variables = c.uses
	for i := range c.uses {
		p.names = append(p.names, c.uses[i].Name)
	}
	for _, t := range p.templates() {
		if _, constant := t.Constant(); !constant {
			p.checks = append(p.checks, t)
		}
	}
}

// templates are all templates of the program.
func (p *Program) templates() []*Template {
	all := []*Template{p.subject}
	for _, t := range []*Template{p.text, p.html} {
		if t != nil {
			all = append(all, t)
		}
	}
	for _, h := range p.headers {
		all = append(all, h.Value)
	}
	return all
}

// Subject is the template of the subject.
func (p *Program) Subject() *Template { return p.subject }

// Text is the template of the text body, or nil.
func (p *Program) Text() *Template { return p.text }

// HTML is the template of the HTML body, or nil.
func (p *Program) HTML() *Template { return p.html }

// Headers are the additional header fields, by name.
func (p *Program) Headers() []Header { return p.headers }

// Constant reports whether all recipients get the same texts.
func (p *Program) Constant() bool { return len(p.checks) == 0 }

// Variables are the variables that the templates use, by name.
func (p *Program) Variables() []Variable {
	return slices.SortedFunc(slices.Values(p.variables), func(a, b Variable) int { return strings.Compare(a.Name, b.Name) })
}

// Uses reports whether a template names a variable, be it only in a section.
func (p *Program) Uses(name string) bool { return slices.Contains(p.names, name) }

// Check reports what would fail for a recipient: errors are of type *MissingError, *ValueError or *SizeError. It renders
// nothing; some hundred nanoseconds and no allocation a recipient, unless it fails.
func (p *Program) Check(r Recipient) error {
	if p.Constant() {
		return nil
	}
	v := pooled.Get().(*Values) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer func() {
		v.Reset()
		pooled.Put(v)
	}()
	v.Bind(p, r)
	for _, t := range p.checks {
		if err := t.Execute(v, Discard); err != nil {
			return err
		}
	}
	return nil
}

// Blank appends to dst the required variables that a recipient has, but with nothing or blanks in them: allowed, and
// seldom meant.
func (p *Program) Blank(dst []string, r Recipient) []string {
	for i := range p.variables {
		use := &p.variables[i]
		if !use.Required {
			continue
		}
		if s := lookup(use, use.Name, &r); s.given && !s.holds() {
			dst = append(dst, use.Name)
		}
	}
	return dst
}

var pooled = sync.Pool{New: func() any { return new(Values) }}

// Discard is the Sink of those who only want the error.
var Discard Sink = discard{}

type discard struct{}

func (discard) Literal(int)        {}
func (discard) Value(string, bool) {}

// Rendered is what templates become for one recipient. Line ends and characters are as the templates and values have
// them; package compose makes them fit for a mail.
type Rendered struct {
	Subject string
	Text    string
	HTML    string
	// Headers are by name; nil for none.
	Headers map[string]string
}

// Render renders all texts for a recipient. Errors are those of Check.
func (p *Program) Render(r Recipient) (Rendered, error) {
	var v Values
	v.Bind(p, r)
	var out Rendered
	var err error
	render := func(t *Template) string {
		if t == nil || err != nil {
			return ""
		}
		var text string
		text, err = t.render(&v)
		return text
	}
	out.Subject, out.Text, out.HTML = render(p.subject), render(p.text), render(p.html)
	for _, h := range p.headers {
		if out.Headers == nil {
			out.Headers = make(map[string]string, len(p.headers))
		}
		out.Headers[h.Name] = render(h.Value)
	}
	if err != nil {
		return Rendered{}, err
	}
	return out, nil
}

func (t *Template) render(v *Values) (string, error) {
	sink := plain{literals: t.literals, buf: make([]byte, 0, t.size+t.size/8)}
	if err := t.Execute(v, &sink); err != nil {
		return "", err
	}
	return string(sink.buf), nil
}

// plain is the Sink that collects a text.
type plain struct {
	literals []string
	buf      []byte
}

func (s *plain) Literal(index int) { s.buf = append(s.buf, s.literals[index]...) }

func (s *plain) Value(value string, escape bool) {
	if escape {
		s.buf = AppendEscaped(s.buf, value)
		return
	}
	s.buf = append(s.buf, value...)
}
