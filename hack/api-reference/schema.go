package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// crd is what the page tells of a CustomResourceDefinition.
type crd struct {
	Spec struct {
		Group string `json:"group"`
		Scope string `json:"scope"`
		Names struct {
			Kind       string   `json:"kind"`
			ShortNames []string `json:"shortNames"`
			Categories []string `json:"categories"`
		} `json:"names"`
		Versions []struct {
			Name   string `json:"name"`
			Schema struct {
				Root schema `json:"openAPIV3Schema"`
			} `json:"schema"`
		} `json:"versions"`
	} `json:"spec"`
}

// schema is what the page tells of an OpenAPI v3 schema.
type schema struct {
	Type                 string            `json:"type"`
	Format               string            `json:"format"`
	Description          string            `json:"description"`
	Default              json.RawMessage   `json:"default"`
	Enum                 []string          `json:"enum"`
	Minimum              *int64            `json:"minimum"`
	Maximum              *int64            `json:"maximum"`
	MinLength            *int64            `json:"minLength"`
	MaxLength            *int64            `json:"maxLength"`
	MinItems             *int64            `json:"minItems"`
	MaxItems             *int64            `json:"maxItems"`
	MaxProperties        *int64            `json:"maxProperties"`
	Required             []string          `json:"required"`
	Properties           map[string]schema `json:"properties"`
	Items                *schema           `json:"items"`
	AdditionalProperties *schema           `json:"additionalProperties"`
	Validations          []struct {
		Rule    string `json:"rule"`
		Message string `json:"message"`
	} `json:"x-kubernetes-validations"`
}

// conditions are the standard ones, which the page does not describe again.
const conditions = "status.conditions"

func readKind(text []byte) (crd, error) {
	var c crd
	if err := yaml.Unmarshal(text, &c); err != nil {
		return crd{}, fmt.Errorf("reading the CRD: %w", err)
	}
	if len(c.Spec.Versions) != 1 {
		return crd{}, errors.New("the CRD has more than one version: say which one the page is about")
	}
	return c, nil
}

func (c crd) page() []byte {
	version := c.Spec.Versions[0]
	root := version.Schema.Root
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!-- Written by `make generate` from the Go types and the CRD; change those. -->\n\n# API reference\n\n")
	fmt.Fprintf(&b, "`%s` (`%s/%s`): %s\nShort name `%s`, category `%s`, %s. The same in a shell: `kubectl explain %s.spec --recursive`.\n",
		c.Spec.Names.Kind, c.Spec.Group, version.Name, cell(root.Description),
		strings.Join(c.Spec.Names.ShortNames, "`, `"), strings.Join(c.Spec.Names.Categories, "`, `"),
		strings.ToLower(c.Spec.Scope), c.Spec.Names.ShortNames[0])
	b.WriteString("\n[Fields](#spec) · [status](#status) · [annotations](#annotations) · [conditions](#conditions) · [events](#events)\n")
	writeRules(&b, root)
	writeObject(&b, "spec", root.Properties["spec"])
	writeObject(&b, "status", root.Properties["status"])
	return b.Bytes()
}

// writeObject writes a table of an object's fields, what the API server checks, and the same of the objects in it.
func writeObject(b *bytes.Buffer, path string, s schema) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| field | type | |\n|---|---|---|\n", path, cell(s.Description))
	names := slices.Sorted(maps.Keys(s.Properties))
	for _, name := range names {
		field := s.Properties[name]
		marker := ""
		if slices.Contains(s.Required, name) {
			marker = " *required*"
		}
		fmt.Fprintf(b, "| `%s`%s | %s | %s |\n", name, marker, typeText(path+"."+name, field), meaning(name, field))
	}
	writeRules(b, s)
	for _, name := range names {
		if inner, suffix := object(path+"."+name, s.Properties[name]); inner != nil {
			writeObject(b, path+"."+name+suffix, *inner)
		}
	}
}

// object returns the schema of an object or of the objects of a list, if the page describes it.
func object(path string, s schema) (inner *schema, suffix string) {
	switch {
	case path == conditions:
		return nil, ""
	case len(s.Properties) > 0:
		return &s, ""
	case s.Items != nil && len(s.Items.Properties) > 0:
		return s.Items, "[]"
	}
	return nil, ""
}

// typeText says what a field may hold.
func typeText(path string, s schema) string {
	if inner, suffix := object(path, s); inner != nil {
		text := fmt.Sprintf("[object](#%s)", anchor(path+suffix))
		if suffix != "" {
			return listText(s, text)
		}
		return text
	}
	switch {
	case path == conditions:
		return listText(s, "Condition (meta/v1)")
	case len(s.Enum) > 0:
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	case s.Format == "date-time":
		return "time (RFC 3339)"
	case s.Type == "array":
		return listText(s, typeText(path+"[]", *s.Items))
	case s.AdditionalProperties != nil:
		return "map of " + s.AdditionalProperties.Type + bounds(nil, s.MaxProperties, "")
	case s.Type == "string":
		return "string" + bounds(nil, s.MaxLength, " characters")
	default:
		return s.Type + bounds(s.Minimum, s.Maximum, "")
	}
}

// listText says how many of what a list holds.
func listText(s schema, item string) string {
	return "list" + bounds(s.MinItems, s.MaxItems, "") + ", of " + item
}

// bounds says from where to where.
func bounds(low, high *int64, unit string) string {
	switch {
	case low != nil && high != nil:
		return fmt.Sprintf(", %d to %d%s", *low, *high, unit)
	case high != nil:
		return fmt.Sprintf(", at most %d%s", *high, unit)
	case low != nil:
		return fmt.Sprintf(", at least %d%s", *low, unit)
	}
	return ""
}

// meaning is a field's description, which begins with its name, and its default.
func meaning(name string, s schema) string {
	text := strings.TrimPrefix(cell(s.Description), name+" ")
	if len(s.Default) > 0 {
		text += " Default: `" + strings.Trim(string(s.Default), `"`) + "`."
	}
	return text
}

// writeRules writes the rules of an object and of its plain fields, in the words of who breaks them.
func writeRules(b *bytes.Buffer, s schema) {
	var rules []string
	add := func(of schema) {
		for _, rule := range of.Validations {
			rules = append(rules, rule.Message)
		}
	}
	add(s)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		field := s.Properties[name]
		if len(field.Properties) == 0 {
			add(field)
		}
		if field.Items != nil && len(field.Items.Properties) == 0 {
			add(*field.Items)
		}
	}
	if len(rules) == 0 {
		return
	}
	b.WriteString("\nWhat breaks a rule is refused with its words:\n\n")
	for _, rule := range rules {
		fmt.Fprintf(b, "- %s\n", strings.ReplaceAll(rule, "*", `\*`))
	}
}

// cell is a description as a table can hold it.
func cell(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.NewReplacer("|", `\|`, "<", `\<`).Replace(text)
}

// anchor is what GitHub makes of a heading.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(".[]", r) {
			return -1
		}
		return r
	}, strings.ToLower(heading))
}
