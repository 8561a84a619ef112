package render

import (
	"slices"
	"strings"
)

// mode says where a template's values go.
type mode uint8

const (
	modeText   mode = iota // as they are
	modeHTML               // with HTML's special characters escaped
	modeHeader             // on one line: CR, LF and NUL are refused
)

// opcode is one kind of operation.
type opcode uint8

const (
	opLiteral opcode = iota // emit a literal
	opValue                 // emit a variable, escaped where the mode asks for it
	opRaw                   // emit a variable as it is
	opIf                    // go on behind the section unless the variable has a value
	opUnless                // go on behind the section if the variable has a value
)

// op is one operation of a compiled template.
type op struct {
	code opcode
	// optional: a variable that is missing is an empty one, since the template has a section for that.
	optional bool
	// index is that of a literal, or the slot of a variable.
	index int32
	// next is the operation behind a section.
	next int32
	pos  Position
}

// Template is one compiled template of a Program. It is immutable, and safe for concurrent use.
type Template struct {
	field    string
	mode     mode
	limit    int
	ops      []op
	literals []string
	// size is the length of all literals.
	size int
}

// Sink takes what a template renders to, in order.
type Sink interface {
	// Literal takes the literal with this index of Template.Literals.
	Literal(index int)
	// Value takes a value. With escape, HTML's special characters in it become what Escaped says.
	Value(value string, escape bool)
}

// Literals are the constant texts, by index.
func (t *Template) Literals() []string { return t.literals }

// Constant returns what the template renders to whatever the variables are; ok is false if it depends on them.
func (t *Template) Constant() (text string, ok bool) {
	switch {
	case len(t.ops) == 0:
		return "", true
	case len(t.ops) == 1 && t.ops[0].code == opLiteral:
		return t.literals[t.ops[0].index], true
	default:
		return "", false
	}
}

// Execute renders the template with bound values into a sink. Errors are of type *MissingError, *ValueError or
// *SizeError; what the sink holds by then is worthless.
func (t *Template) Execute(values *Values, sink Sink) error {
	size := 0
	for i := 0; i < len(t.ops); i++ {
		o := &t.ops[i]
		switch o.code {
		case opLiteral:
			size += len(t.literals[o.index])
			sink.Literal(int(o.index))
		case opIf, opUnless:
			if values.slots[o.index].holds() != (o.code == opIf) {
				i = int(o.next) - 1
			}
		default:
			value := values.slots[o.index]
			if err := t.admit(o, value, values); err != nil {
				return err
			}
			if size += len(value.text); size > t.limit {
				return &SizeError{Field: t.field, Limit: t.limit, Rendered: true}
			}
			sink.Value(value.text, t.mode == modeHTML && o.code == opValue)
		}
		if size > t.limit {
			return &SizeError{Field: t.field, Limit: t.limit, Rendered: true}
		}
	}
	return nil
}

// admit says why a value cannot stand where an operation puts it.
func (t *Template) admit(o *op, value slot, values *Values) error {
	if !value.given && !o.optional {
		return &MissingError{Field: t.field, Position: o.pos, Variable: values.names[o.index]}
	}
	if t.mode == modeHeader && strings.ContainsAny(value.text, "\r\n\x00") {
		return &ValueError{
			Field: t.field, Position: o.pos, Variable: values.names[o.index],
			Reason: "holds a line break or a NUL, which a header field cannot",
		}
	}
	return nil
}

// compiler builds the templates of one program, which share their slots.
type compiler struct {
	names map[string]int32
	// uses are the variables by slot.
	uses []Variable
}

// compile turns nodes into a template. Nothing in them may be nested deeper than MaxDepth.
func (c *compiler) compile(field string, m mode, limit int, nodes []node) *Template {
	t := &Template{field: field, mode: m, limit: limit}
	defaulted := map[string]bool{}
	collectInverted(nodes, defaulted)
	c.emit(t, nodes, defaulted, 0)
	for _, text := range t.literals {
		t.size += len(text)
	}
	return t
}

func (c *compiler) emit(t *Template, nodes []node, defaulted map[string]bool, depth int) {
	for i := range nodes {
		n := &nodes[i]
		switch n.kind {
		case literal:
			t.ops = append(t.ops, op{code: opLiteral, index: int32(len(t.literals))})
			t.literals = append(t.literals, n.text)
		case variable, raw:
			o := op{code: opValue, optional: defaulted[n.text], pos: n.pos}
			if n.kind == raw {
				o.code = opRaw
			}
			o.index = c.slot(t.field, n, depth == 0 && !o.optional)
			t.ops = append(t.ops, o)
		default:
			o := op{code: opIf, index: c.slot(t.field, n, false), pos: n.pos}
			if n.kind == inverted {
				o.code = opUnless
			}
			at := len(t.ops)
			t.ops = append(t.ops, o)
			c.emit(t, n.nodes, defaulted, depth+1)
			t.ops[at].next = int32(len(t.ops))
		}
	}
}

// slot is the number under which a variable's value is bound.
func (c *compiler) slot(field string, n *node, required bool) int32 {
	index, known := c.names[n.text]
	if !known {
		index = int32(len(c.uses))
		c.names[n.text] = index
		c.uses = append(c.uses, Variable{Name: n.text, BuiltIn: slices.Contains(builtIns, n.text), Field: field, Position: n.pos})
	}
	if use := &c.uses[index]; required && !use.Required {
		use.Required, use.Field, use.Position = true, field, n.pos
	}
	return index
}

func collectInverted(nodes []node, into map[string]bool) {
	for i := range nodes {
		if nodes[i].kind == inverted {
			into[nodes[i].text] = true
		}
		collectInverted(nodes[i].nodes, into)
	}
}
