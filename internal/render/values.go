package render

import "strings"

// The variables that every recipient has by itself.
const (
	// VariableEmail is the address that the mail goes to. A variable of the recipient's own never replaces it.
	VariableEmail = "email"
	// VariableName is the recipient's variable of that name, or else the display name; missing where both are empty.
	VariableName = "name"
	// VariableUnsubscribe is the https address under which this recipient unsubscribes, the one in List-Unsubscribe. A
	// variable of the recipient's own never replaces it.
	VariableUnsubscribe = "unsubscribeURL"
)

var builtIns = []string{VariableEmail, VariableName, VariableUnsubscribe}

// Recipient is what templates can say of a recipient.
type Recipient struct {
	Address string
	// Name is the display name; empty for none.
	Name      string
	Variables map[string]string
	// UnsubscribeURL is empty for none. To check, any other text will do.
	UnsubscribeURL string
}

// slot is the value of one variable. One that is not given has an empty text.
type slot struct {
	text  string
	given bool
}

// holds reports whether a section over the variable is shown. As in the reference, blanks are no value.
func (s slot) holds() bool {
	return s.text != "" && (s.text[0] > ' ' && s.text[0] < 0x7f || strings.TrimSpace(s.text) != "")
}

// Values are one recipient's variables, bound to a program. The zero value is ready to be bound, and bound again: that
// allocates nothing. It is not safe for concurrent use.
type Values struct {
	names []string
	slots []slot
}

// Bind looks the recipient's variables up for the templates of a program.
func (v *Values) Bind(p *Program, r Recipient) {
	v.names, v.slots = p.names, v.slots[:0]
	for i, name := range p.names {
		v.slots = append(v.slots, lookup(&p.variables[i], name, &r))
	}
}

// Reset forgets the values, so that they can be collected.
func (v *Values) Reset() {
	clear(v.slots)
	v.names, v.slots = nil, v.slots[:0]
}

func lookup(use *Variable, name string, r *Recipient) slot {
	if use.BuiltIn {
		switch name {
		case VariableEmail:
			return slot{text: r.Address, given: true}
		case VariableUnsubscribe:
			return slot{text: r.UnsubscribeURL, given: r.UnsubscribeURL != ""}
		}
		if own := (slot{text: r.Variables[name]}); own.holds() {
			return slot{text: own.text, given: true}
		}
		return slot{text: r.Name, given: r.Name != ""}
	}
	text, given := r.Variables[name]
	return slot{text: text, given: given}
}
