package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// sourceVariable names another smtp-source.
const sourceVariable = "SMTP_SOURCE"

// sourceHeader is about what smtp-source writes above the text of a mail.
const sourceHeader = 200

// findSource is the path of smtp-source. Where it is not installed, Debian's package is unpacked into dir: installing it
// would make a mail server of the machine.
func findSource(ctx context.Context, dir string) (string, error) {
	if path := os.Getenv(sourceVariable); path != "" {
		return path, nil
	}
	if path, err := exec.LookPath("smtp-source"); err == nil {
		return path, nil
	}
	for _, path := range []string{"/usr/sbin/smtp-source", "/usr/local/sbin/smtp-source"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := unpackSource(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("smtp-source is not installed, and Debian's package can't be had: install the package postfix, "+
			"set %s to the program, or leave it out with -run: %w", sourceVariable, err)
	}
	return path, nil
}

func unpackSource(ctx context.Context, dir string) (string, error) {
	for _, command := range [][]string{{"apt-get", "download", "-qq", "postfix"}, {"sh", "-c", "dpkg-deb -x postfix_*.deb postfix"}} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Dir = dir
		if output, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, output)
		}
	}
	path := filepath.Join(dir, "postfix", "usr", "sbin", "smtp-source")
	if _, err := os.Stat(path); err != nil {
		return "", errors.New("the package has no smtp-source")
	}
	return path, nil
}

// sourceLibraries is where an unpacked program finds its libraries.
func sourceLibraries(path string) []string {
	libraries := filepath.Join(filepath.Dir(path), "..", "lib", "postfix")
	if _, err := os.Stat(libraries); err != nil {
		return nil
	}
	return []string{"LD_LIBRARY_PATH=" + libraries}
}
