package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// word is a constant of the API package: its value, and what its comment says.
type word struct{ name, value, meaning string }

// group is a block of constants.
type group struct {
	meaning string
	words   []word
}

// vocabulary is what the API package names in constants.
type vocabulary struct {
	annotations []word
	conditions  []group // the first word of each is the condition, or the conditions if there are no reasons
	events      []group
	values      map[string]string // by the name of the constant
}

func readVocabulary(dir string) (vocabulary, error) {
	v := vocabulary{values: map[string]string{}}
	for _, file := range []string{"annotations.go", "conditions.go"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file), nil, parser.ParseComments)
		if err != nil {
			return vocabulary{}, fmt.Errorf("reading the constants: %w", err)
		}
		for _, declaration := range parsed.Decls {
			if block, ok := declaration.(*ast.GenDecl); ok && block.Tok == token.CONST {
				v.add(block)
			}
		}
	}
	return v, nil
}

func (v *vocabulary) add(block *ast.GenDecl) {
	g := group{meaning: block.Doc.Text()}
	for _, spec := range block.Specs {
		value, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		literal, ok := value.Values[0].(*ast.BasicLit)
		if !ok {
			continue
		}
		text, err := strconv.Unquote(literal.Value)
		if err != nil {
			continue
		}
		meaning := value.Doc.Text()
		if meaning == "" {
			meaning = value.Comment.Text()
		}
		g.words = append(g.words, word{name: value.Names[0].Name, value: text, meaning: meaning})
		v.values[value.Names[0].Name] = text
	}
	switch name := g.words[0].name; {
	case strings.HasPrefix(name, "Annotation"):
		v.annotations = append(v.annotations, g.words...)
	case strings.HasPrefix(name, "Condition"):
		v.conditions = append(v.conditions, g)
	case strings.HasPrefix(name, "Event"):
		v.events = append(v.events, g)
	}
}

func (v *vocabulary) page() []byte {
	var b bytes.Buffer
	b.WriteString("\n## Annotations\n\nWhat a person asks of a campaign once, outside of Git: [verbs](verbs.md).\n\n| annotation | |\n|---|---|\n")
	for _, w := range v.annotations {
		fmt.Fprintf(&b, "| `%s` | %s |\n", w.value, v.text(w))
	}
	b.WriteString("\n## Conditions\n\nWhat each reason asks of you: [troubleshooting](troubleshooting.md).\n")
	for _, g := range v.conditions {
		if len(g.words) > 1 && strings.HasPrefix(g.words[1].name, "Condition") { // conditions without reasons of their own
			fmt.Fprintf(&b, "\n%s\n", v.sentence(g.meaning))
			writeWords(&b, v, "condition", g.words)
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", g.words[0].value, v.sentence(v.text(word{name: g.words[0].name, meaning: g.meaning})))
		writeWords(&b, v, "reason", g.words[1:])
	}
	b.WriteString("\n## Events\n")
	for _, g := range v.events {
		fmt.Fprintf(&b, "\n%s\n", v.sentence(g.meaning))
		writeWords(&b, v, "event", g.words)
	}
	return b.Bytes()
}

func writeWords(b *bytes.Buffer, v *vocabulary, kind string, words []word) {
	fmt.Fprintf(b, "\n| %s | |\n|---|---|\n", kind)
	for _, w := range words {
		fmt.Fprintf(b, "| `%s` | %s |\n", w.value, v.text(w))
	}
}

var constant = regexp.MustCompile(`\b(Reason|Condition|Annotation)[A-Z]\w*`)

// text is a comment without the name that it begins with, and with values for the names of constants.
func (v *vocabulary) text(w word) string {
	text := strings.TrimPrefix(cell(w.meaning), w.name)
	text = strings.TrimPrefix(strings.TrimSpace(text), ": ")
	text = constant.ReplaceAllStringFunc(text, func(name string) string {
		if value, ok := v.values[name]; ok {
			return "`" + value + "`"
		}
		return name
	})
	return strings.Replace(text, "): ", ") ", 1)
}

// sentence begins with a capital letter.
func (v *vocabulary) sentence(text string) string {
	text = v.text(word{meaning: text})
	return strings.ToUpper(text[:1]) + text[1:]
}
