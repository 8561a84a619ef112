package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// indexTimeout bounds the question which releases exist: a machine without access knows after this.
	indexTimeout = 15 * time.Second
	// downloadTimeout bounds the transfer of about 75 MB. Slower than that, building is no worse.
	downloadTimeout = 3 * time.Minute
)

// download fetches the binaries published for envtest, of the pinned minor release, checks them by their published
// checksums, and puts them into s.bin.
func download(ctx context.Context, s settings, want pins, out io.Writer) error {
	if _, err := os.Stat(s.envtest); err != nil {
		return fmt.Errorf("setup-envtest is missing: run make bin/setup-envtest: %w", err)
	}
	fmt.Fprintf(out, "Control plane: asking for published binaries of Kubernetes %s (at most %s) …\n", want.series(), indexTimeout)
	if _, err := setupEnvtest(ctx, s, indexTimeout, "list", want.series()); err != nil {
		return err
	}
	fmt.Fprintf(out, "Control plane: downloading them, about 75 MB (at most %s) …\n", downloadTimeout)
	store, err := os.MkdirTemp(s.bin, ".download-")
	if err != nil {
		return fmt.Errorf("making a directory for the download: %w", err)
	}
	defer removeAll(store)
	path, err := setupEnvtest(ctx, s, downloadTimeout, "use", want.series(), "-p", "path", "--bin-dir", store)
	if err != nil {
		return err
	}
	return place(strings.TrimSpace(path), s.bin)
}

// setupEnvtest runs the tool and returns its standard output; an error carries what it wrote to standard error.
func setupEnvtest(ctx context.Context, s settings, limit time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.envtest, args...).Output()
	if err == nil {
		return string(out), nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "", fmt.Errorf("setup-envtest %s: no answer within %s", args[0], limit)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return "", fmt.Errorf("setup-envtest %s: %s", args[0], strings.TrimSpace(string(exit.Stderr)))
	}
	return "", fmt.Errorf("setup-envtest %s: %w", args[0], err)
}

// place moves the binaries from one directory to another on the same file system: each is whole or absent.
func place(from, to string) error {
	for _, name := range binaries {
		path := filepath.Join(from, name)
		if err := os.Chmod(path, 0o755); err != nil {
			return fmt.Errorf("installing %s: %w", name, err)
		}
		if err := os.Rename(path, filepath.Join(to, name)); err != nil {
			return fmt.Errorf("installing %s: %w", name, err)
		}
	}
	return nil
}

// removeAll deletes a scratch directory, read-only parts included (setup-envtest writes some).
func removeAll(dir string) {
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}
