// Package manifest reads Kubernetes manifests from files as `kubectl apply -f` and `kustomize build` would, and knows on
// which line everything is.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// Position is a place in a file, counted from 1; columns are characters. Line and Column are 0 for the file as a whole.
type Position struct {
	File   string
	Line   int
	Column int
}

// Error is a file that can't be understood.
type Error struct {
	Position

	// Reason says why.
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason) }

// Problem is one thing for which the API server refuses an object.
type Problem struct {
	// Path is the field, such as spec.message.replyTo[0].
	Path string
	// Message says what is wrong without quoting the value; Value is the value, where there is one.
	Message string
	Value   string
	// Unknown tells a field that the schema does not have: kubectl refuses it, other clients have it dropped.
	Unknown bool
}

// Document is one object of a file.
type Document struct {
	// File is the file's path as it was given; "-" is standard input.
	File string
	// APIVersion, Kind, Namespace and Name are the object's; empty where they are missing, or no text.
	APIVersion, Kind, Namespace, Name string
	// Object is the object as JSON has it, with whole numbers as int64.
	Object map[string]any

	root   *yamlv3.Node
	offset int      // lines of the file before the document's text
	lines  []string // the document's text
}

// Parse reads the objects of a YAML or JSON file; those in a List count one by one. Documents that can't be read are
// left out, and reported as *Error.
func Parse(file string, text []byte) ([]*Document, []error) {
	var documents []*Document
	var problems []error
	for _, part := range split(text) {
		found, err := parseDocument(file, part)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		documents = append(documents, found...)
	}
	return documents, problems
}

// part is the text of one document.
type part struct {
	text   []byte
	offset int
}

// split cuts the text at the lines that begin with ---, as kubectl does.
func split(text []byte) []part {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var parts []part
	current := part{}
	for number, line := range bytes.SplitAfter(text, []byte("\n")) {
		rest, isSeparator := bytes.CutPrefix(line, []byte("---"))
		if rest = bytes.TrimSpace(rest); isSeparator && (len(rest) == 0 || rest[0] == '#') {
			parts = append(parts, current)
			current = part{offset: number + 1}
			continue
		}
		current.text = append(current.text, line...)
	}
	return append(parts, current)
}

func parseDocument(file string, p part) ([]*Document, error) {
	var node yamlv3.Node
	if err := yamlv3.Unmarshal(p.text, &node); err != nil {
		return nil, syntaxError(file, p.offset, err)
	}
	if len(node.Content) == 0 || node.Content[0].Tag == "!!null" { // nothing but comments
		return nil, nil
	}
	root := node.Content[0]
	if root.Kind != yamlv3.MappingNode {
		return nil, &Error{Position{file, p.offset + root.Line, root.Column}, "is no Kubernetes object: there must be apiVersion, kind and metadata"}
	}
	var value any
	if err := root.Decode(&value); err != nil { // a key that is there twice, for one
		return nil, syntaxError(file, p.offset, err)
	}
	json, err := yaml.YAMLToJSON(p.text)
	if err != nil {
		return nil, syntaxError(file, p.offset, err)
	}
	object := map[string]any{}
	if err := utiljson.Unmarshal(json, &object); err != nil {
		return nil, syntaxError(file, p.offset, err)
	}
	document := newDocument(file, object, root)
	document.offset, document.lines = p.offset, strings.Split(string(p.text), "\n")
	return document.items(), nil
}

func newDocument(file string, object map[string]any, root *yamlv3.Node) *Document {
	text := func(from map[string]any, name string) string {
		value, _ := from[name].(string)
		return value
	}
	metadata, _ := object["metadata"].(map[string]any)
	return &Document{
		File: file, Object: object, root: root,
		APIVersion: text(object, "apiVersion"), Kind: text(object, "kind"),
		Namespace: text(metadata, "namespace"), Name: text(metadata, "name"),
	}
}

// items are the objects of a List, or the document itself.
func (d *Document) items() []*Document {
	items, isList := d.Object["items"].([]any)
	if !isList || !strings.HasSuffix(d.Kind, "List") {
		return []*Document{d}
	}
	var documents []*Document
	for i, item := range items {
		object, ok := item.(map[string]any)
		node, _ := d.find([]string{"items", strconv.Itoa(i)})
		if !ok || node == nil {
			continue
		}
		document := newDocument(d.File, object, node)
		document.offset, document.lines = d.offset, d.lines
		documents = append(documents, document)
	}
	return documents
}

var lineNumber = regexp.MustCompile(`line (\d+)(?:, column \d+)?:? ?`)

// syntaxError has the line that a YAML library names in words.
func syntaxError(file string, offset int, err error) *Error {
	text := err.Error()
	if errors.Is(err, errors.ErrUnsupported) || text == "" {
		text = "can't be read"
	}
	line := offset + 1
	if match := lineNumber.FindStringSubmatchIndex(text); match != nil {
		if n, err := strconv.Atoi(text[match[2]:match[3]]); err == nil {
			line = offset + n
		}
		text = text[match[1]:]
	}
	for _, prefix := range []string{"error converting YAML to JSON: ", "yaml: ", "unmarshal errors:\n  "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return &Error{Position{file, line, 1}, "is not YAML: " + strings.TrimSpace(text)}
}
