package render

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cbroglie/mustache"
)

// reference renders with the library. Its variables are nested where a name has dots, as Mustache has it. ok is false
// where the library does not understand the template.
func reference(t *testing.T, source string, html bool, variables map[string]string) (text string, ok bool) {
	t.Helper()
	parsed, err := mustache.ParseStringRaw(source, !html)
	if err != nil {
		return "", false
	}
	context := map[string]any{}
	for name, value := range variables {
		at := context
		parts := strings.Split(name, ".")
		for _, part := range parts[:len(parts)-1] {
			next, isMap := at[part].(map[string]any)
			if !isMap {
				next = map[string]any{}
				at[part] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = value
	}
	text, err = parsed.Render(context)
	if err != nil {
		t.Fatalf("the library fails to render %q: %v", source, err)
	}
	return text, true
}

// compare holds one template to the library, as text and as HTML.
func compare(t *testing.T, source string, variables map[string]string) {
	t.Helper()
	for _, html := range []bool{false, true} {
		templates := Templates{Text: source}
		if html {
			templates = Templates{HTML: source}
		}
		p, err := Compile(templates)
		if err != nil || source == "" {
			return // what we refuse on purpose has tests of its own
		}
		want, ok := reference(t, source, html, variables)
		if !ok {
			t.Fatalf("the library does not understand %q, and we do", source)
		}
		// What is missing is an error here, and nothing there.
		given := map[string]string{}
		for _, v := range p.Variables() {
			given[v.Name] = variables[v.Name]
		}
		got, err := p.Render(Recipient{Address: variables["email"], Variables: given, UnsubscribeURL: variables["unsubscribeURL"]})
		if missing, is := err.(*MissingError); is && variables[missing.Variable] == "" { //nolint:errorlint // Render does not wrap
			return
		}
		if err != nil || got.Text+got.HTML != want {
			t.Fatalf("%q with %q:\ngot  %q, %v\nwant %q", source, variables, got.Text+got.HTML, err, want)
		}
	}
}

var pieces = []string{
	"{{a}}", "{{ b }}", "{{{a}}}", "{{&b}}", "{{c.d}}", "{{{ c.d }}}", "{{#a}}", "{{/a}}", "{{^a}}", "{{#b}}", "{{/b}}", "{{^b}}",
	"{{# c.d }}", "{{/ c.d }}", "{{! note }}", "{{!\n}}", "\n", "\r\n", " ", "\t", "\n  ", "text", "<b>", "é", "}", "}}", "{", "{{.}}", "\n{{#a}}\n",
	"\n{{/a}}\n", "{{^missing}}", "{{/missing}}", "{{missing}}", "<!--[if mso]>", "\r", "\x00",
}

var someValues = []string{"", " ", "x", "<b>&\"'", "é\n", "a\x00", "{{a}}", "\u00a0", "\u2003"}

// TestLikeTheReference renders random templates with both.
func TestLikeTheReference(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(6, 22))
	understood := 0
	for range 30_000 {
		var source strings.Builder
		for range 1 + random.IntN(12) {
			source.WriteString(pieces[random.IntN(len(pieces))])
		}
		variables := map[string]string{}
		for _, name := range []string{"a", "b", "c.d"} {
			if random.IntN(4) > 0 {
				variables[name] = someValues[random.IntN(len(someValues))]
			}
		}
		if _, err := Compile(Templates{Text: source.String()}); err == nil {
			understood++
		}
		compare(t, source.String(), variables)
	}
	if understood < 3000 {
		t.Errorf("only %d templates were compared", understood)
	}
}

// FuzzTemplate: whatever a template and its values are, compiling and rendering it ends, within the limits, and the
// outcome is the library's.
func FuzzTemplate(f *testing.F) {
	for _, source := range []string{
		"Hello {{name}}", "{{name}}{{^name}}friend{{/name}}", "{{#a}}\n{{b}}\n{{/a}}\n", "<!--[if mso]>{{{a}}}<![endif]-->", "{{!-- x --}}", "{{&a}} {{ b }}",
		"{{#a}}{{.}}{{/a}}", "{{#if a}}", "{{> a}}", "{{=<% %>=}}", "{{{{a}}}}", "{{#a}}{{#b}}{{/a}}{{/b}}", "{{", "}}{{", "{{a.b.c}}", "{{\na\n}}", "{{#a}} \t",
	} {
		f.Add(source, "x", "<&>")
		f.Add(source, "", " ")
	}
	f.Fuzz(func(t *testing.T, source, a, b string) {
		if strings.Contains(source, "{{#c}}") || strings.Contains(source, "{{^c}}") {
			return
		}
		compare(t, source, map[string]string{"a": a, "b": b, "email": b, "unsubscribeURL": a})
		for _, templates := range []Templates{{Subject: source}, {HTML: source, DeriveText: true}, {Headers: map[string]string{"X-A": source}}} {
			p, err := Compile(templates)
			if err != nil {
				continue
			}
			r := Recipient{Address: a, Name: b, Variables: map[string]string{"a": a, "b": b}}
			got, err := p.Render(r)
			checked := p.Check(r)
			if (err == nil) != (checked == nil) || err != nil && err.Error() != checked.Error() {
				t.Fatalf("Render says %v, Check %v", err, checked)
			}
			if strings.ContainsAny(got.Subject+got.Headers["X-A"], "\r\n\x00") {
				t.Fatal("a header field of several lines")
			}
		}
	})
}
