package render

import (
	"strconv"
	"strings"
)

// check refuses what is no plain tag. Much of it is right in Handlebars or in all of Mustache: the error says what to
// write here.
func (p *parser) check(t tag) error {
	reason := refusal(t)
	if reason == "" {
		return nil
	}
	return p.errorf(t.start, reason)
}

// helpers are Handlebars' own, by the section that says the same.
var helpers = map[string]string{
	"if": "{{#%s}}…{{/%s}} is shown where the variable has a value", "unless": "{{^%s}}…{{/%s}} is shown where the variable has no value",
	"with": "variables are flat: write their names", "each": "there are no lists: write the variables' names",
}

// refusal says what is wrong with a tag; empty if nothing is.
func refusal(t tag) string {
	body := t.body
	switch {
	case t.sigil == '>' || t.sigil == '#' && strings.HasPrefix(body, ">"):
		return "partials are not supported: write the text here"
	case t.sigil == '=':
		return "the delimiters cannot be changed: tags are written with {{ and }}"
	case t.sigil == '^' && body == "":
		return "{{^}} is not supported: write {{#name}}…{{/name}}{{^name}}…{{/name}}"
	case body == "":
		return "this tag has no name"
	case body == ".":
		return refusalOfDot(t.sigil)
	}
	if reason := refusalOfHandlebars(t.sigil, body); reason != "" {
		return reason
	}
	if name, arguments, found := strings.Cut(body, " "); found {
		return refusalOfHelper(t.sigil, name, strings.TrimSpace(arguments))
	}
	return refusalOfName(body)
}

// refusalOfHandlebars says what to write instead of what only Handlebars knows.
func refusalOfHandlebars(sigil byte, body string) string {
	switch {
	case strings.HasPrefix(body, "~") || strings.HasSuffix(body, "~"):
		return "~ is not supported: a line that holds nothing but a section's tag leaves no blank line behind anyway"
	case sigil == 0 && (body == "else" || strings.HasPrefix(body, "else ")):
		return "{{else}} is not supported: write {{#name}}…{{/name}}{{^name}}…{{/name}}"
	}
	for _, path := range []string{"this.", "this/", "./", "../", "@"} {
		if body == "this" || strings.HasPrefix(body, path) {
			return quote(body) + " is not supported: variables are flat, write the variable's name"
		}
	}
	return ""
}

func refusalOfDot(sigil byte) string {
	if sigil == 0 || sigil == '{' || sigil == '&' {
		return ""
	}
	return "a section needs the name of a variable"
}

func refusalOfHelper(sigil byte, name, arguments string) string {
	if advice, known := helpers[name]; known && sigil == '#' {
		if refusalOfName(arguments) != "" {
			arguments = "name"
		}
		return "{{#" + name + " …}} is not supported: " + strings.ReplaceAll(advice, "%s", arguments)
	}
	return "a tag holds one name, without spaces, and there are no helpers: rename the variable, or compute its value where the list is made"
}

// refusalOfName says why this is no name: letters, digits, _, - and dots between them.
func refusalOfName(name string) string {
	if len(name) > MaxName {
		return "a name has at most " + strconv.Itoa(MaxName) + " characters"
	}
	for i := range len(name) {
		c := name[i]
		if c != '_' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return quote(name) + " is not a name: names are made of letters from A to Z, digits, _, - and dots"
		}
	}
	if name == "" || name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, "..") {
		return quote(name) + " is not a name: a dot stands between two parts of it"
	}
	return ""
}

// quote shows a piece of a template in an error, cut off where it is long.
func quote(text string) string {
	const most = 40
	runes := []rune(text)
	if len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return strconv.Quote(text)
}
