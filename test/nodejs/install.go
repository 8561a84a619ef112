package nodejs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// Dir installs the packages, unless they are there, and returns the folder test/interop. Scripts below it find them.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir, err := Install()
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

// Install is Dir for programs that are no tests. The working directory must be in this module. It fails if Node.js is
// not there, or npm can't reach its registry the first time.
func Install() (dir string, err error) { return install() }

var install = sync.OnceValues(func() (string, error) {
	if _, err := exec.LookPath("node"); err != nil {
		return "", errors.New("this needs Node.js 20 or newer (the real Bull runs on it), and `node` is not in PATH")
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "test", "interop")
	unlock, err := lock(filepath.Join(dir, ".npm-install.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	return dir, installOnce(dir)
})

// installOnce leaves node_modules alone if they are those of the lock file.
func installOnce(dir string) error {
	pinned, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return fmt.Errorf("reading the lock file: %w", err)
	}
	stamp := filepath.Join(dir, "node_modules", ".cartero-installed")
	if installed, err := os.ReadFile(stamp); err == nil && bytes.Equal(installed, pinned) {
		return nil
	}
	// Not `npm ci`: it insists on the optional binaries of every platform, which not every registry holds. This takes
	// the versions of the lock file too, and leaves that file alone.
	cmd := exec.Command("npm", "install", "--no-save", "--omit=optional", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm install in test/interop: %w\n%s", err, output)
	}
	return os.WriteFile(stamp, pinned, 0o600)
}

// lock waits for other test binaries that install at the same time.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			err = errors.New("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}
