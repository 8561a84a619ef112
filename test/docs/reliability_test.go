package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

// reliability is the page with every case.
const reliability = "docs/reliability.md"

// cases is how many there are of each letter.
var cases = []struct {
	letter string
	number int
}{{"A", 18}, {"B", 21}, {"C", 15}, {"D", 14}, {"E", 32}, {"F", 8}}

var (
	caseID = regexp.MustCompile(`^[A-F]\d+$`)
	// shownBy is a test as the page names it, `package.Test`, perhaps with a case of it in quotes.
	shownBy = regexp.MustCompile("`([A-Za-z0-9/]+)\\.((?:Test|Fuzz)\\w+)`(?: \"([^\"]+)\")?")
	// notShown is what a row says that has no test.
	notShown = regexp.MustCompile(`(?i)not shown|cannot happen|not checked`)
)

// TestEveryCase: each case has its row, in order, and each row a test, or says why it has none.
func TestEveryCase(t *testing.T) {
	t.Parallel()
	var want, got []string
	for _, c := range cases {
		for i := range c.number {
			want = append(want, fmt.Sprintf("%s%d", c.letter, i+1))
		}
	}
	for line := range strings.Lines(pages(t)[reliability]) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || !caseID.MatchString(strings.TrimSpace(cells[1])) {
			continue
		}
		id := strings.TrimSpace(cells[1])
		got = append(got, id)
		if len(cells) != 6 {
			t.Errorf("%s: the row of %s has %d cells, want 4", reliability, id, len(cells)-2)
		}
		if !shownBy.MatchString(line) && !notShown.MatchString(line) {
			t.Errorf("%s: %s names no test, and does not say why there is none", reliability, id)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cases with a row in %s (-want +got):\n%s", reliability, diff)
	}
}

// TestShownBy: each test that the page names is there, and so is each case of it.
func TestShownBy(t *testing.T) {
	t.Parallel()
	page := pages(t)[reliability]
	packages := map[string]*testPackage{}
	for _, match := range shownBy.FindAllStringSubmatch(page, -1) {
		path, name, quoted := match[1], match[2], match[3]
		if packages[path] == nil {
			packages[path] = readTests(t, filepath.Join(kubetest.Root(t), filepath.FromSlash(path)))
		}
		p := packages[path]
		if !p.tests[name] {
			t.Errorf("%s names %s.%s, and there is no such test", reliability, path, name)
		}
		if quoted != "" && !p.texts[quoted] {
			t.Errorf("%s names the case %q of %s.%s, and there is no such case", reliability, quoted, path, name)
		}
	}
	// A name that is written otherwise would not be checked.
	for _, loose := range regexp.MustCompile("`[^`]*(?:Test|Fuzz)[A-Z]\\w+`").FindAllString(page, -1) {
		if !shownBy.MatchString(loose) {
			t.Errorf("%s names %s, which is not `package.Test`", reliability, loose)
		}
	}
}

// testPackage is what a directory with tests has.
type testPackage struct {
	tests map[string]bool
	// texts are all string literals, also of the packages below, where specifications are that several tests play.
	texts map[string]bool
}

func readTests(t *testing.T, directory string) *testPackage {
	t.Helper()
	p := &testPackage{tests: map[string]bool{}, texts: map[string]bool{}}
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && strings.HasSuffix(path, "_test.go") && filepath.Dir(path) == directory {
					p.tests[n.Name.Name] = true
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					p.texts[text] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil && !os.IsNotExist(err) { // a package that is not there has no tests
		t.Fatalf("Reading the tests of %s: %v", directory, err)
	}
	return p
}
