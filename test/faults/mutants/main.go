// Command mutants proves that the tests can fail: it builds each of a list of deliberate bugs into the real code, one at a
// time and in memory only (go test -overlay), runs the tests that are said to notice it, and fails if one doesn't, or if
// the code has moved on and a bug can't be built in any more.
//
//	go run ./test/faults/mutants -fast    some of them, noticed by tests that need nothing installed
//	make test-mutants
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	fast := flag.Bool("fast", false, "only some mutants, which tests notice that need nothing installed")
	only := flag.String("run", "", "only mutants whose name matches the regular `expression`")
	verbose := flag.Bool("v", false, "show what the tests say")
	flag.Parse()
	if err := run(os.Stdout, *fast, *only, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, fast bool, only string, verbose bool) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	sound, alive := map[string]bool{}, 0
	for _, m := range mutants {
		if fast && !m.fast || !wanted.MatchString(m.name) {
			continue
		}
		began := time.Now()
		verdict, text, err := m.judge(root, sound)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Fprintf(out, "%-9s %5.1fs  %s (%s -run '%s')\n", verdict, time.Since(began).Seconds(), m.name, m.pkg, m.run)
		if verdict != killed {
			alive++
		}
		if verbose || verdict == broken {
			fmt.Fprintln(out, text)
		}
	}
	if alive > 0 {
		return fmt.Errorf("%d mutants were not killed by a test", alive)
	}
	return nil
}

// The verdicts.
const (
	killed   = "killed"
	survived = "SURVIVED"
	broken   = "BROKEN" // it does not compile, or the tests fail without it
)

// moduleRoot is the directory of go.mod.
func moduleRoot() (string, error) {
	output, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding go.mod: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(output))), nil
}

// mutant is a bug.
type mutant struct {
	// name says what is wrong with it.
	name string
	// edits are the bug.
	edits []edit
	// pkg and run are the tests that notice it: a package and a -run expression.
	pkg, run string
	// services: these tests need an API server, or MariaDB and Redis; else they run with -short.
	services bool
	// fast: it is one of those that are tried with every change, which together must not take minutes.
	fast bool
}

// edit replaces a text, which must be there once, in a file.
type edit struct{ file, old, new string }

// apply returns the files with the bug, by path.
func (m mutant) apply(root string) (map[string]string, error) {
	files := map[string]string{}
	for _, e := range m.edits {
		path := filepath.Join(root, e.file)
		text, ok := files[path]
		if !ok {
			original, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			text = string(original)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("%s has the text to change %d times, want once: %q", e.file, n, e.old)
		}
		files[path] = strings.Replace(text, e.old, e.new, 1)
	}
	return files, nil
}

// judge runs the tests with and, unless they are known to be sound, without the bug.
func (m mutant) judge(root string, sound map[string]bool) (verdict, output string, err error) {
	files, err := m.apply(root)
	if err != nil {
		return "", "", err
	}
	directory, err := os.MkdirTemp("", "cartero-mutant-")
	if err != nil {
		return "", "", err
	}
	defer func() { _ = os.RemoveAll(directory) }()
	replace := map[string]string{}
	for path, text := range files {
		changed := filepath.Join(directory, filepath.Base(path))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", "", err
		}
		replace[path] = changed
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", "", err
	}
	path := filepath.Join(directory, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return "", "", err
	}
	tests := m.pkg + " " + m.run
	if !sound[tests] {
		if passed, text := m.test(root); !passed {
			return broken, "without the bug:\n" + text, nil
		}
		sound[tests] = true
	}
	passed, text := m.test(root, "-overlay", path)
	switch {
	case passed:
		return survived, text, nil
	case !strings.Contains(text, "--- FAIL") && !strings.Contains(text, "panic: "):
		return broken, text, nil
	default:
		return killed, text, nil
	}
}

// test runs the tests.
func (m mutant) test(root string, more ...string) (passed bool, output string) {
	args := append([]string{"test", "-failfast", "-vet=off", "-ldflags=-s -w", "-timeout", "5m", "-run", m.run}, more...)
	if !m.services {
		args = append(args, "-short")
	}
	cmd := exec.Command("go", append(args, m.pkg)...)
	cmd.Dir = root
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	err := cmd.Run()
	return err == nil && !strings.Contains(text.String(), "no tests to run"), text.String()
}
