package manifest

import (
	"slices"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

// maxHops bounds the aliases and merges that are followed for a field: they can be nested so that there is no end of them.
const maxHops = 1000

// Position is where the field with this path is, such as spec.message.replyTo[0] or data[list.csv]; of one that is
// missing, it is where its nearest parent is.
func (d *Document) Position(path string) Position {
	node, key := d.find(steps(path))
	if key != nil {
		node = key
	}
	return Position{d.File, d.offset + node.Line, node.Column}
}

// InText is the place that has this line and column of a field's text, as far as the way it is written tells: texts in
// quotes or folded are named by where they begin.
func (d *Document) InText(path string, line, column int) Position {
	node, key := d.find(steps(path))
	position := d.Position(path)
	switch {
	case node.Kind != yamlv3.ScalarNode:
	case node.Style&yamlv3.LiteralStyle != 0:
		if indent, ok := d.indent(node, key); ok {
			return Position{d.File, d.offset + node.Line + line, indent + column}
		}
	case line == 1 && node.Style&yamlv3.FoldedStyle == 0:
		position = Position{d.File, d.offset + node.Line, node.Column + column - 1}
		if node.Style&(yamlv3.DoubleQuotedStyle|yamlv3.SingleQuotedStyle) != 0 {
			position.Column++
		}
	}
	return position
}

// indent is that of a literal text, whose indicator is on the node's line.
func (d *Document) indent(node, key *yamlv3.Node) (int, bool) {
	for i := node.Line; i < len(d.lines); i++ {
		text := strings.TrimRight(d.lines[i], "\r")
		if trimmed := strings.TrimLeft(text, " "); trimmed != "" {
			indent := len(text) - len(trimmed)
			// The first line may be indented itself, which its own text tells.
			first := strings.TrimLeft(node.Value, "\n")
			indent -= len(first) - len(strings.TrimLeft(first, " "))
			return indent, key == nil || indent >= key.Column
		}
	}
	return 0, false
}

// steps are the names and indices of a path.
func steps(path string) []string {
	var out []string
	for path != "" {
		switch path[0] {
		case '.':
			path = path[1:]
		case '[':
			var name string
			name, path, _ = strings.Cut(path[1:], "]")
			out = append(out, strings.Trim(name, `"`))
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			out = append(out, path[:end])
			path = path[end:]
		}
	}
	return out
}

// find follows the steps as far as they lead. key is the key of the last field, nil where it is none.
func (d *Document) find(path []string) (node, key *yamlv3.Node) {
	node = d.root
	hops := maxHops
	for _, step := range path {
		next, nextKey := child(node, step, &hops)
		if next == nil {
			return node, key
		}
		node, key = next, nextKey
	}
	for ; node.Kind == yamlv3.AliasNode && hops > 0; hops-- {
		node = node.Alias
	}
	return node, key
}

func child(node *yamlv3.Node, step string, hops *int) (value, key *yamlv3.Node) {
	*hops--
	switch {
	case *hops < 0:
		return nil, nil
	case node.Kind == yamlv3.AliasNode:
		return child(node.Alias, step, hops)
	case node.Kind == yamlv3.SequenceNode:
		i, err := strconv.Atoi(step)
		if err != nil || i < 0 || i >= len(node.Content) {
			return nil, nil
		}
		return node.Content[i], nil
	case node.Kind != yamlv3.MappingNode:
		return nil, nil
	}
	var merged *yamlv3.Node
	for pair := range slices.Chunk(node.Content, 2) {
		switch {
		case len(pair) < 2:
		case pair[0].Value == step:
			return pair[1], pair[0]
		case pair[0].Tag == "!!merge":
			merged = pair[1]
		}
	}
	if merged == nil {
		return nil, nil
	}
	if merged.Kind != yamlv3.SequenceNode {
		return child(merged, step, hops)
	}
	for _, one := range merged.Content {
		if value, key = child(one, step, hops); value != nil {
			return value, key
		}
	}
	return nil, nil
}
