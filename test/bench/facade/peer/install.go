package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// packages are Debian's, and what they hold.
var packages = []string{"python3-fastapi", "python3-uvicorn", "python3-tenacity"}

const imports = "import fastapi, uvicorn, tenacity"

// installTime bounds what apt-get does.
const installTime = 5 * time.Minute

// Python returns an interpreter that has the packages: the one in PEER_PYTHON, that in PATH, or Debian's. Where none has
// them and apt-get may, it installs them.
func Python() (string, error) { return python() }

var python = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), installTime)
	defer cancel()
	if path := find(ctx); path != "" {
		return path, nil
	}
	// Other test binaries may want the same, and apt-get wants to be alone.
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "cartero-peer-install.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("waiting for another installation: %w", err)
	}
	if path := find(ctx); path != "" {
		return path, nil
	}
	if err := install(ctx); err != nil {
		return "", fmt.Errorf("the Python mail service needs %v: install them, or a Python that has fastapi, uvicorn and "+
			"tenacity, and name it in PEER_PYTHON: %w", packages, err)
	}
	if path := find(ctx); path != "" {
		return path, nil
	}
	return "", fmt.Errorf("%v were installed, and no python3 can import them", packages)
})

// find returns the first interpreter that can run the service, or nothing.
func find(ctx context.Context) string {
	for _, name := range []string{cmp.Or(os.Getenv("PEER_PYTHON"), "python3"), "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if err == nil && exec.CommandContext(ctx, path, "-c", imports).Run() == nil {
			return path
		}
	}
	return ""
}

// install has apt-get install the packages, where it is there and may.
func install(ctx context.Context) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("there is no apt-get")
	}
	var root []string
	if os.Getuid() != 0 {
		root = []string{"sudo", "-n"}
	}
	update := slices.Concat(root, []string{"apt-get", "update", "-qq"})
	add := slices.Concat(root,
		[]string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends"}, packages)
	for _, command := range [][]string{update, add} {
		if output, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", command, err, output)
		}
	}
	return nil
}
