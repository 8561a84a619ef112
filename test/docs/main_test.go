// Package docs tests the documentation: its manifests on the real API server, its links, and that it leaves nothing out.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// pages are the Markdown files of the project, by their path from its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	root := kubetest.Root(t)
	found := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			found[name] = string(text)
		}
	}
	return found
}

// block is a fenced block of a page.
type block struct {
	line     int
	language string
	text     string
}

// blocks are the fenced blocks of a page. What a block is indented by is not part of it.
func blocks(page string) []block {
	var found []block
	var open *block
	indent := ""
	number := 0
	for line := range strings.Lines(page) {
		number++
		trimmed := strings.TrimLeft(line, " ")
		switch {
		case open == nil && strings.HasPrefix(trimmed, "```"):
			indent = line[:len(line)-len(trimmed)]
			open = &block{line: number, language: strings.TrimSpace(strings.TrimPrefix(trimmed, "```"))}
		case open != nil && strings.HasPrefix(trimmed, "```"):
			found = append(found, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent)
		}
	}
	return found
}

// prose is a page without its fenced blocks.
func prose(page string) string {
	return regexp.MustCompile("(?ms)^ *```.*?^ *```").ReplaceAllString(page, "")
}

var heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)

// headings are the headings of a page.
func headings(page string) []string {
	var found []string
	for _, match := range heading.FindAllStringSubmatch(prose(page), -1) {
		found = append(found, strings.TrimSpace(match[1]))
	}
	return found
}
