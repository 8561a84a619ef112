package render

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// derived compiles HTML alone and renders the text that is made of it.
func derived(t *testing.T, source string, r Recipient) string {
	t.Helper()
	p, err := Compile(Templates{HTML: source, DeriveText: true})
	if err != nil {
		t.Fatalf("%q: %v", source, err)
	}
	got, err := p.Render(r)
	if err != nil {
		t.Fatalf("%q: %v", source, err)
	}
	return got.Text
}

func TestDerive(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"plain":                              "plain\n",
		"<p>One</p><p>Two<br>Three</p>":      "One\n\nTwo\nThree\n",
		"  <h1> Big\n news </h1>\n\n text  ": "Big news\n\ntext\n",
		"a&nbsp;&amp;&nbsp;b &lt;c&gt;":      "a & b <c>\n",
		"<a href=\"https://x.example/?a=1&amp;b=2\">Shop</a>, now":                             "Shop (https://x.example/?a=1&b=2), now\n",
		"<a href=\"https://x.example\">https://x.example</a>":                                  "https://x.example\n",
		"<a href=\"https://x.example\">x.example</a>":                                          "x.example\n",
		"<a href=\"mailto:help@x.example\">help@x.example</a>":                                 "help@x.example\n",
		"<a href=\"#top\">up</a> <a name=\"top\">here</a>":                                     "up here\n",
		"<a href=\"https://x.example\"><img src=\"cid:l\" alt=\"Logo\"></a>":                   "Logo (https://x.example)\n",
		"<a href=\"https://x.example\"><img src=\"cid:l\"></a>":                                "https://x.example\n",
		"<a href=\"https://x.example\">unclosed":                                               "unclosed (https://x.example)\n",
		"<ul><li>One<li>Two<ol><li>A</li><li>B</li></ol></li></ul>end":                         "- One\n- Two\n  1. A\n  2. B\n\nend\n",
		"<table><tr><th>Item</th><th>Price</th></tr><tr><td>Tea</td><td>2 €</td></tr></table>": "Item | Price\nTea | 2 €\n",
		"<table><tr><td><p>A</p></td><td><p>B</p></td></tr></table>":                           "A\n\nB\n",
		"<table><tr><td></td><td>only</td><td> </td></tr></table>":                             "only\n",
		"<blockquote>said<br>twice</blockquote>by":                                             "> said\n> twice\n\nby\n",
		"<pre>a  b\n c</pre>": "a  b\n c\n",
		"a<hr>b":              "a\n\n---\n\nb\n",
		"<html><head><title>no</title><style>p{}</style></head><body>yes":                                                        "yes\n",
		"<head><meta charset=utf-8><body>yes":                                                                                    "yes\n",
		"<div style=\"display: NONE\">no<div>no</div></div><p hidden>no</p>yes":                                                  "yes\n",
		"yes<!-- no --><!--[if mso]><p>no</p><![endif]--><!--[if !mso]><!--> also<!--<![endif]-->":                               "yes also\n",
		"<script>no</script>yes<img src=x>":                                                                                      "yes\n",
		"wor\u00add\u200bs, \u200c\u200c \u034fبه\u200cخانه 👨\u200d👩":                                                            "words, به\u200cخانه 👨\u200d👩\n",
		"<p>&nbsp;</p><img src=\"x\">":                                                                                           "",
		"Hello <b>{{city}}</b>, {{plan}}!":                                                                                       "Hello Cádiz, <pro>!\n",
		"{{#city}}<p>In {{city}}</p>{{/city}}<p>Bye</p>":                                                                         "In Cádiz\n\nBye\n",
		"<p>Hi</p>\n{{#empty}}\n<p>In {{empty}}</p>\n{{/empty}}\n<p>Bye</p>":                                                     "Hi\n\nBye\n",
		"<p>Hi</p>\n{{#city}}\n<p>In {{city}}</p>\n{{/city}}\n<p>Bye</p>":                                                        "Hi\n\nIn Cádiz\n\nBye\n",
		"a{{#empty}} b{{/empty}} c{{#city}} d{{/city}} e":                                                                        "a c d e\n",
		"Dear {{first}}{{^first}}friend{{/first}},":                                                                              "Dear friend,\n",
		"<table>{{#city}}<tr><td>Tea</td><td>{{city}}</td></tr>{{/city}}{{#empty}}<tr><td>{{empty}}</td></tr>{{/empty}}</table>": "Tea | Cádiz\n",
		"<a href=\"{{unsubscribeURL}}\">Leave</a>":                                                                               "Leave (https://x.example/u/1?a=b&c=d)\n",
		"<a href=\"https://x.example/{{#city}}{{city}}{{/city}}\">Go</a>":                                                        "Go (https://x.example/Cádiz)\n",
		"<a href=\"{{unsubscribeURL}}\">{{unsubscribeURL}}</a>":                                                                  "https://x.example/u/1?a=b&c=d\n",
		"<p class=\"{{#city}}{{missing}}{{/city}}{{^city}}b{{/city}}\">x":                                                        "x\n",
		"<!-- {{#city}}{{city}}{{/city}} -->x":                                                                                   "x\n",
		"{{&copy}} {{{plan}}}":                                                                                                   "© <pro>\n",
		"\U00100000x\U0010FFFD":                                                                                                  "\uFFFDx\uFFFD\n",
		"{{#empty}}<a href=\"https://x.example\">no{{/empty}}yes":                                                                "yes\n",
		"{{#city}}<a href=\"https://x.example\">go{{/city}} yes":                                                                 "go (https://x.example) yes\n",
		"{{#city}}{{/city}}x{{! note }}":                                                                                         "x\n",
	}
	for source, want := range tests {
		r := ana(func(r *Recipient) {
			r.Variables["copy"] = "©"
			r.Variables["missing"] = "given"
		})
		if got := derived(t, source, r); got != want {
			t.Errorf("%q became %q, want %q", source, got, want)
		}
	}
}

func TestDeriveOnlyWhereAsked(t *testing.T) {
	t.Parallel()
	for _, templates := range []Templates{{HTML: "<p>x"}, {HTML: "<p>x", Text: "y", DeriveText: true}} {
		p, err := Compile(templates)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Render(Recipient{}); err != nil || got.Text != templates.Text {
			t.Errorf("text %q, %v", got.Text, err)
		}
	}
	p, err := Compile(Templates{HTML: "<p>{{x}}", DeriveText: true, Verbatim: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Render(Recipient{}); err != nil || got.Text != "{{x}}\n" {
		t.Errorf("text %q, %v", got.Text, err)
	}
	if p, err = Compile(Templates{HTML: "<img src=x>", DeriveText: true}); err != nil || p.Text() != nil {
		t.Errorf("HTML without words has no text: %v", err)
	}
}

func TestDeriveRefused(t *testing.T) {
	t.Parallel()
	for _, source := range []string{
		"<!-- {{#city}} -->x{{/city}}", "{{#city}}<!-- {{/city}} -->x", "<a {{#city}}href=x>y</a>{{/city}}",
		"<a href=\"{{#city}}x\" title=\"{{/city}}\">y</a>", "<style>{{#city}}</style>{{/city}}",
	} {
		_, err := Compile(Templates{HTML: source, DeriveText: true})
		if !isA[*SyntaxError](err) || !strings.Contains(err.Error(), "no text can be made of the HTML") {
			t.Errorf("%q: %v", source, err)
		}
	}
}

// TestDeriveIsLinear: the largest template, of whatever is worst, takes no noticeable time.
func TestDeriveIsLinear(t *testing.T) {
	t.Parallel()
	for _, piece := range []string{"<div>", "<ul><li>", "<blockquote>", "<a href=x>", "{{a}}", "<!--", "<", "<b ", "&", "{{#a}}{{/a}}", "<p hidden>", "\u200c ", "x{{!}}"} {
		began := time.Now()
		source := strings.Repeat(piece, MaxTemplate/len(piece))
		if _, err := Compile(Templates{HTML: source, DeriveText: true}); err != nil {
			t.Errorf("%q: %v", piece, err)
		}
		t.Logf("%q took %v", piece, time.Since(began))
	}
}

// TestDeriveThenRender: the text made of a template says the same, letter by letter, as the text made of what the template
// renders to.
func TestDeriveThenRender(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(10, 22))
	pieces := []string{
		"<p>", "</p>", "<b>", "</b>", "<div>", "</div>", "<br>", "<ul>", "<li>", "</ul>", "<h1>", "</h1>", "<hr>", "<!-- note -->", "<style>p{}</style>", "<img alt=\"{{b}} pic\">",
		"<a href=\"https://x.example/{{b}}\">go</a>", " <a href=\"https://x.example/{{b}}\">{{#a}}go{{/a}}</a> ", "<img src=\"{{c}}\">", "{{#a}}", "{{/a}}", "{{^a}}", "{{b}}", "{{c}}", "{{! note }}", "word ", " word", "\n", "&amp;", "é",
		"<table>", "<tr>", "</table>",
	}
	letters := func(text string) string { // where a section is left out, the blanks around it may be others
		return strings.NewReplacer("(", "", ")", "", "\n", "", " ", "").Replace(text)
	}
	compared := 0
	for range 8_000 {
		var source strings.Builder
		for range 1 + random.IntN(14) {
			source.WriteString(pieces[random.IntN(len(pieces))])
		}
		p, err := Compile(Templates{HTML: source.String(), DeriveText: true})
		if err != nil {
			continue
		}
		compared++
		for _, a := range []string{"", "given"} {
			r := Recipient{Variables: map[string]string{"a": a, "b": "value", "c": "<i>&"}}
			got, err := p.Render(r)
			if err != nil {
				t.Fatal(err)
			}
			rendered, err := Compile(Templates{HTML: got.HTML, Verbatim: true, DeriveText: true})
			if err != nil {
				t.Fatal(err)
			}
			want, err := rendered.Render(r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(letters(want.Text), letters(got.Text)); diff != "" {
				t.Fatalf("%q with a = %q (-rendered first +derived first):\n%s", source.String(), a, diff)
			}
		}
	}
	if compared < 800 {
		t.Errorf("only %d templates were compared", compared)
	}
}
