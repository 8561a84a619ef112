package devstack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const lockName = "lock"

// Directory is where one stack keeps its data. Only one process uses it at a time.
type Directory struct {
	path string
	lock *os.File
}

// OpenDirectory makes the directory if need be and locks it until Close or the end of the process, however it ends.
func OpenDirectory(path string) (*Directory, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding the data directory: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the data directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another process uses %s: stop it, or choose another directory with --data-dir", path)
		}
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	return &Directory{path: path, lock: lock}, nil
}

// Path is the absolute path of the directory, or of something below it.
func (d *Directory) Path(below ...string) string {
	return filepath.Join(append([]string{d.path}, below...)...)
}

// Secret returns the text of the file with this name, made by create the first time and kept for the next.
func (d *Directory) Secret(name string, create func() string) (string, error) {
	text, err := os.ReadFile(d.Path(name))
	if err == nil && len(text) > 0 {
		return strings.TrimSpace(string(text)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("reading %s: %w", d.Path(name), err)
	}
	secret := create()
	if err := os.WriteFile(d.Path(name), []byte(secret+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("writing %s: %w", d.Path(name), err)
	}
	return secret, nil
}

// Clear removes what earlier processes left in the directory.
func (d *Directory) Clear() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("listing the data directory: %w", err)
	}
	for _, entry := range entries {
		if entry.Name() == lockName {
			continue
		}
		if err := os.RemoveAll(d.Path(entry.Name())); err != nil {
			return fmt.Errorf("clearing the data directory: %w", err)
		}
	}
	return nil
}

// Close lets the next process have the directory.
func (d *Directory) Close() error { return d.lock.Close() }
