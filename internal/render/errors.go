package render

import "fmt"

// The limits on what is rendered. They bound the time and the memory that a template can take.
const (
	// MaxTemplate is the longest template, in octets.
	MaxTemplate = 128 << 10
	// MaxDepth is how deeply sections may be nested.
	MaxDepth = 32
	// MaxName is the longest name of a variable, in octets.
	MaxName = 128
	// MaxBody is the longest rendered text or HTML, in octets before characters are escaped.
	MaxBody = 1 << 20
	// MaxHeader is the longest rendered subject or header field, in octets.
	MaxHeader = 4 << 10
)

// Position is a place in a template. Both numbers begin at 1; columns are characters.
type Position struct {
	Line   int
	Column int
}

// SyntaxError is a template that cannot be understood, or that uses what Cartero does not support.
type SyntaxError struct {
	// Field is the template: "subject", "text", "html" or "headers[NAME]".
	Field string
	Position
	// Reason says what is wrong, and what to write instead.
	Reason string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s: line %d, column %d: %s", e.Field, e.Line, e.Column, e.Reason)
}

// MissingError is a variable that a template needs and a recipient does not have.
type MissingError struct {
	// Field is the template: "subject", "text", "html" or "headers[NAME]".
	Field string
	Position
	// Variable is its name.
	Variable string
}

// Error implements error.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s: line %d, column %d: the variable %q is missing: give it to every recipient, or a default: {{%s}}{{^%s}}default{{/%s}}",
		e.Field, e.Line, e.Column, e.Variable, e.Variable, e.Variable, e.Variable)
}

// ValueError is a variable whose value cannot stand where a template puts it. It does not hold the value.
type ValueError struct {
	// Field is the template: "subject" or "headers[NAME]".
	Field string
	Position
	// Variable is its name.
	Variable string
	// Reason completes the sentence "the value of the variable …".
	Reason string
}

// Error implements error.
func (e *ValueError) Error() string {
	return fmt.Sprintf("%s: line %d, column %d: the value of the variable %q %s", e.Field, e.Line, e.Column, e.Variable, e.Reason)
}

// SizeError is a template, or what it renders to, that is too large.
type SizeError struct {
	// Field is the template: "subject", "text", "html" or "headers[NAME]".
	Field string
	// Limit is in octets.
	Limit int
	// Rendered tells that the template is not too large, but what it becomes with a recipient's variables.
	Rendered bool
}

// Error implements error.
func (e *SizeError) Error() string {
	if e.Rendered {
		return fmt.Sprintf("%s: with this recipient's variables it is larger than %d octets", e.Field, e.Limit)
	}
	return fmt.Sprintf("%s: it is larger than %d octets", e.Field, e.Limit)
}
