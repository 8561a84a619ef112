package render

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ana is a recipient with some variables.
func ana(change ...func(*Recipient)) Recipient {
	r := Recipient{
		Address: "ana@receiver.example", Name: "Ana Núñez", UnsubscribeURL: "https://x.example/u/1?a=b&c=d",
		Variables: map[string]string{
			"city": "Cádiz", "plan": "<pro>", "empty": "", "blank": " \t", "user.first-name": "Ana", "email": "eve@evil.example",
			"unsubscribeURL": "https://evil.example/", "break": "a\r\nBcc: eve@evil.example", "nul": "a\x00b",
		},
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

func compileHTML(t *testing.T, source string) *Program {
	t.Helper()
	p, err := Compile(Templates{HTML: source})
	if err != nil {
		t.Fatalf("%q: %v", source, err)
	}
	return p
}

func TestRender(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                              "",
		"no tag, } and }} and { stay":   "no tag, } and }} and { stay",
		"{{city}}, {{ city }}":          "Cádiz, Cádiz",
		"{{plan}} {{{plan}}} {{&plan}}": "&lt;pro&gt; <pro> <pro>",
		"{{& plan }}{{{ plan }}}":       "<pro><pro>",
		"{{user.first-name}}":           "Ana",
		"{{#city}}in {{city}}{{/city}}{{^city}}away{{/city}}":  "in Cádiz",
		"{{#empty}}in{{/empty}}{{^empty}}away{{/empty}}":       "away",
		"{{#blank}}in{{/blank}}{{^blank}}away{{/blank}}":       "away",
		"{{#nobody}}in{{/nobody}}{{^nobody}}away{{/nobody}}":   "away",
		"{{first}}{{^first}}friend{{/first}}":                  "friend",
		"{{city}}{{^city}}town{{/city}}":                       "Cádiz",
		"{{empty}}":                                            "",
		"{{#plan}}{{.}} {{{.}}}{{/plan}}":                      "&lt;pro&gt; <pro>",
		"{{#plan}}{{^nobody}}{{.}}{{/nobody}}{{/plan}}":        "&lt;pro&gt;",
		"{{#city}}{{#plan}}{{.}}{{/plan}}{{.}}{{/city}}":       "&lt;pro&gt;Cádiz",
		"{{#empty}}{{missing}}{{/empty}}":                      "",
		"a {{! a comment, {{ with braces }} b":                 "a  b",
		"a {{!-- Handlebars' --}} b":                           "a  b",
		"{{email}} {{name}} {{{unsubscribeURL}}}":              "ana@receiver.example Ana Núñez https://x.example/u/1?a=b&c=d",
		"one\n  {{#city}}  \ntwo\n{{/city}}\nthree":            "one\ntwo\nthree",
		"one\r\n{{#city}}\r\ntwo\r\n{{/city}}\r\nthree":        "one\r\ntwo\r\nthree",
		"one\n{{city}}\nthree":                                 "one\nCádiz\nthree",
		"<!--[if mso]><v:rect href=\"{{plan}}\"/><![endif]-->": "<!--[if mso]><v:rect href=\"&lt;pro&gt;\"/><![endif]-->",
		"<style>@media x{a{b:c}}</style>":                      "<style>@media x{a{b:c}}</style>",
		"{{nul}}":                                              "a\uFFFDb",
	}
	for source, want := range tests {
		got, err := compileHTML(t, source).Render(ana())
		if err != nil || got.HTML != want {
			t.Errorf("%q rendered to %q, %v; want %q", source, got.HTML, err, want)
		}
	}
}

func TestRenderAllFields(t *testing.T) {
	t.Parallel()
	p, err := Compile(Templates{
		Subject: "{{plan}} in {{city}}", Text: "{{plan}}\n", HTML: "<p>{{plan}}",
		Headers: map[string]string{"X-Plan": "{{{plan}}}", "X-None": ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Render(ana())
	want := Rendered{
		Subject: "<pro> in Cádiz", Text: "<pro>\n", HTML: "<p>&lt;pro&gt;", Headers: map[string]string{"X-Plan": "<pro>", "X-None": ""},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v; rendered (-want +got):\n%s", err, diff)
	}
	p, err = Compile(Templates{Subject: "{{a", Text: "{{> b", HTML: "{{#c}}", Headers: map[string]string{"X-A": "{{"}, Verbatim: true})
	if err != nil || !p.Constant() {
		t.Fatal("texts that are no templates must be left alone", err)
	}
	want = Rendered{Subject: "{{a", Text: "{{> b", HTML: "{{#c}}", Headers: map[string]string{"X-A": "{{"}}
	if got, err = p.Render(Recipient{}); err != nil || cmp.Diff(want, got) != "" {
		t.Error(err, cmp.Diff(want, got))
	}
}

func TestNameIsTheRecipientsOwn(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		name, own, want string
	}{
		"display name":   {"Ana Núñez", "", "Ana Núñez"},
		"variable":       {"Ana Núñez", "Anita", "Anita"},
		"blank variable": {"Ana Núñez", " ", "Ana Núñez"},
		"neither":        {"", "", "friend"},
	}
	p := compileHTML(t, "{{name}}{{^name}}friend{{/name}}")
	for name, tt := range tests {
		got, err := p.Render(Recipient{Name: tt.name, Variables: map[string]string{"name": tt.own}})
		if err != nil || got.HTML != tt.want {
			t.Errorf("%s: %q, %v; want %q", name, got.HTML, err, tt.want)
		}
	}
}

func TestRefusedTemplates(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"{{":                       "line 1, column 1: this {{ is never closed: write }} behind the name",
		"á\n é{{{a}}":              "line 2, column 3: this {{{ is never closed: write }}} behind the name",
		"{{#a}}\n\n  {{#b}}{{/b}}": `line 1, column 1: the section of "a" is never closed: write {{/a}} where it ends`,
		"{{/a}}":                   "line 1, column 1: {{/a}} closes a section that was not opened",
		"{{#a}}{{^b}}{{/a}}{{/b}}": "line 1, column 13: {{/a}} stands where {{/b}} must: sections close in the reverse order",
		"{{}}":                     "line 1, column 1: this tag has no name",
		"{{{}}}":                   "line 1, column 1: this tag has no name",
		"x{{> footer}}":            "line 1, column 2: partials are not supported: write the text here",
		"{{#> layout}}":            "line 1, column 1: partials are not supported: write the text here",
		"{{=<% %>=}}":              "line 1, column 1: the delimiters cannot be changed: tags are written with {{ and }}",
		"{{#if city}}x{{/if}}":     "line 1, column 1: {{#if …}} is not supported: {{#city}}…{{/city}} is shown where the variable has a value",
		"{{#if (eq a b)}}x{{/if}}": "line 1, column 1: {{#if …}} is not supported: {{#name}}…{{/name}} is shown where the variable has a value",
		"{{#unless city}}{{/u}}":   "line 1, column 1: {{#unless …}} is not supported: {{^city}}…{{/city}} is shown where the variable has no value",
		"{{#each items}}":          "line 1, column 1: {{#each …}} is not supported: there are no lists: write the variables' names",
		"{{upper name}}":           "line 1, column 1: a tag holds one name, without spaces, and there are no helpers: rename the variable, or compute its value where the list is made",
		"{{else}}":                 "line 1, column 1: {{else}} is not supported: write {{#name}}…{{/name}}{{^name}}…{{/name}}",
		"{{^}}":                    "line 1, column 1: {{^}} is not supported: write {{#name}}…{{/name}}{{^name}}…{{/name}}",
		"{{~name~}}":               "line 1, column 1: ~ is not supported: a line that holds nothing but a section's tag leaves no blank line behind anyway",
		"{{this.name}}":            `line 1, column 1: "this.name" is not supported: variables are flat, write the variable's name`,
		"{{../name}}":              `line 1, column 1: "../name" is not supported: variables are flat, write the variable's name`,
		"{{@index}}":               `line 1, column 1: "@index" is not supported: variables are flat, write the variable's name`,
		"{{ciudad.}}":              `line 1, column 1: "ciudad." is not a name: a dot stands between two parts of it`,
		"{{año}}":                  `line 1, column 1: "año" is not a name: names are made of letters from A to Z, digits, _, - and dots`,
		"{{.}}":                    "line 1, column 1: {{.}} is the value of the section around it, and there is none: write the variable's name",
		"{{^a}}{{.}}{{/a}}":        "line 1, column 7: {{.}} is the value of the section around it, and there is none: write the variable's name",
		"{{#.}}{{/.}}":             "line 1, column 1: a section needs the name of a variable",
		"{{!-- a }} --}}": "line 1, column 1: this comment begins with {{!-- and its first }} is not preceded by --: Mustache and Handlebars " +
			"disagree about where it ends; write --}} where it ends, and no }} within",
		strings.Repeat("{{#a}}", 33):           "line 1, column 193: sections are nested more than 32 deep",
		"{{" + strings.Repeat("a", 129) + "}}": "line 1, column 1: a name has at most 128 characters",
	}
	for source, want := range tests {
		_, err := Compile(Templates{HTML: source})
		if syntax, ok := errors.AsType[*SyntaxError](err); !ok || err.Error() != "html: "+want {
			t.Errorf("%.60q: got %v (%T), want html: %s", source, err, syntax, want)
		}
	}
}

func TestRefusedSizes(t *testing.T) {
	t.Parallel()
	_, err := Compile(Templates{Text: strings.Repeat("x", MaxTemplate+1)})
	if err == nil || err.Error() != "text: it is larger than 131072 octets" {
		t.Error(err)
	}
	_, err = Compile(Templates{Subject: strings.Repeat("x", MaxHeader+1)})
	if err == nil || err.Error() != "subject: it is larger than 4096 octets" {
		t.Error(err)
	}
	_, err = Compile(Templates{Headers: map[string]string{"X-A": "á\r\nb"}})
	if err == nil || err.Error() != "headers[X-A]: line 1, column 2: a header field is one line: remove the line break or NUL" {
		t.Error(err)
	}
	p := compileHTML(t, strings.Repeat("{{a}}", 1025))
	large := Recipient{Variables: map[string]string{"a": strings.Repeat("x", 1024)}}
	if err := p.Check(large); err == nil || err.Error() != "html: with this recipient's variables it is larger than 1048576 octets" {
		t.Error(err)
	}
	if _, err := p.Render(large); !isA[*SizeError](err) {
		t.Error(err)
	}
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		templates Templates
		want      string
	}{
		"all there":           {Templates{Subject: "{{city}}", Text: "{{name}} {{email}}"}, ""},
		"missing":             {Templates{HTML: "a\n <b>{{nobody}}"}, `html: line 2, column 5: the variable "nobody" is missing: give it to every recipient, or a default: {{nobody}}{{^nobody}}default{{/nobody}}`},
		"default elsewhere":   {Templates{Text: "{{^nobody}}x{{/nobody}}", Subject: "{{nobody}}"}, `subject: line 1, column 1: the variable "nobody" is missing: give it to every recipient, or a default: {{nobody}}{{^nobody}}default{{/nobody}}`},
		"guarded by itself":   {Templates{Text: "{{#nobody}}{{nobody}}{{/nobody}}"}, ""},
		"in a section shown":  {Templates{Text: "{{#city}}{{nobody}}{{/city}}"}, `text: line 1, column 10: the variable "nobody" is missing: give it to every recipient, or a default: {{nobody}}{{^nobody}}default{{/nobody}}`},
		"in a section hidden": {Templates{Text: "{{^city}}{{nobody}}{{/city}}"}, ""},
		"empty is given":      {Templates{Text: "{{empty}}"}, ""},
		"break in the body":   {Templates{Text: "{{break}}"}, ""},
		"break in subject":    {Templates{Subject: "{{break}}"}, `subject: line 1, column 1: the value of the variable "break" holds a line break or a NUL, which a header field cannot`},
		"NUL in a header":     {Templates{Headers: map[string]string{"X-A": "b {{{nul}}}"}}, `headers[X-A]: line 1, column 3: the value of the variable "nul" holds a line break or a NUL, which a header field cannot`},
		"no address to leave": {Templates{HTML: "{{unsubscribeURL}}"}, `html: line 1, column 1: the variable "unsubscribeURL" is missing: give it to every recipient, or a default: {{unsubscribeURL}}{{^unsubscribeURL}}default{{/unsubscribeURL}}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Compile(tt.templates)
			if err != nil {
				t.Fatal(err)
			}
			r := ana(func(r *Recipient) { r.UnsubscribeURL = "" })
			got := ""
			if err := p.Check(r); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if _, err := p.Render(r); (err == nil) != (got == "") || err != nil && err.Error() != got {
				t.Errorf("Render says otherwise: %v", err)
			}
		})
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	p, err := Compile(Templates{
		Subject: "{{offer}}", Text: "{{name}}{{^name}}friend{{/name}}",
		HTML: "{{#city}}\n{{#plan}}{{offer}} {{price}}{{/plan}}{{/city}}\n{{email}} {{shop}}",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Variable{
		{Name: "city", Field: "html", Position: Position{1, 1}},
		{Name: "email", Required: true, BuiltIn: true, Field: "html", Position: Position{3, 1}},
		{Name: "name", BuiltIn: true, Field: "text", Position: Position{1, 1}},
		{Name: "offer", Required: true, Field: "subject", Position: Position{1, 1}},
		{Name: "plan", Field: "html", Position: Position{2, 1}},
		{Name: "price", Field: "html", Position: Position{2, 20}},
		{Name: "shop", Required: true, Field: "html", Position: Position{3, 11}},
	}
	if diff := cmp.Diff(want, p.Variables()); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	blank := p.Blank(nil, Recipient{Address: "a@b.example", Variables: map[string]string{"offer": " ", "shop": "x", "city": ""}})
	if diff := cmp.Diff([]string{"offer"}, blank); diff != "" {
		t.Errorf("blank (-want +got):\n%s", diff)
	}
	if !p.Uses("city") || p.Uses("unsubscribeURL") {
		t.Error("Uses is wrong")
	}
}
