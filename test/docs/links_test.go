package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks follows every link into the project: the file is there, and so is the heading.
func TestLinks(t *testing.T) {
	t.Parallel()
	all := pages(t)
	for name, page := range all {
		for _, match := range link.FindAllStringSubmatch(prose(page), -1) {
			target := match[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			path, fragment, _ := strings.Cut(target, "#")
			file := name
			if path != "" {
				file = filepath.Join(filepath.Dir(name), path)
			}
			if _, err := os.Stat(filepath.Join(kubetest.Root(t), file)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, target)
				continue
			}
			if fragment != "" && strings.HasSuffix(file, ".md") && !slices.Contains(anchors(all[file]), fragment) {
				t.Errorf("%s links to %s, and that page has no such heading", name, target)
			}
		}
	}
}

// anchors are what GitHub makes of the headings of a page.
func anchors(page string) []string {
	seen := map[string]int{}
	var found []string
	for _, text := range headings(page) {
		text = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`).ReplaceAllString(text, "$1")
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, text)
		if n := seen[anchor]; n > 0 {
			found = append(found, fmt.Sprintf("%s-%d", anchor, n))
		} else {
			found = append(found, anchor)
		}
		seen[anchor]++
	}
	return found
}

// TestIndex: the index of the documentation has every page.
func TestIndex(t *testing.T) {
	t.Parallel()
	all := pages(t)
	for name := range all {
		page, ok := strings.CutPrefix(name, "docs/")
		if ok && page != "README.md" && !strings.Contains(all["docs/README.md"], "("+page) {
			t.Errorf("docs/README.md does not mention %s", page)
		}
	}
}
