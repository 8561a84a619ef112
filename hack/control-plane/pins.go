package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

const (
	kubernetesModule = "k8s.io/kubernetes"
	etcdModule       = "go.etcd.io/etcd/server/v3"

	// stampName is the file beside the binaries that says which releases they are.
	stampName = ".control-plane"
)

// binaries lists what envtest needs, in the order in which it is checked.
var binaries = []string{"etcd", "kube-apiserver", "kubectl"}

// pins are the releases that the modules under the source directory name.
type pins struct {
	kubernetes string // such as v1.36.3
	etcd       string // such as v3.7.3
	sum        string // over both go.mod and go.sum: a changed dependency is another build
}

func (p pins) String() string {
	return fmt.Sprintf("Kubernetes %s, etcd %s", p.kubernetes, p.etcd)
}

// stamp is the text that marks binaries as those of p, on this platform.
func (p pins) stamp() string {
	return fmt.Sprintf("%s %s/%s %s", p, runtime.GOOS, runtime.GOARCH, p.sum)
}

// series is the release without its patch number, as setup-envtest selects it: 1.36.x.
func (p pins) series() string {
	parts := strings.SplitN(strings.TrimPrefix(p.kubernetes, "v"), ".", 3)
	return parts[0] + "." + parts[1] + ".x"
}

func readPins(source string) (pins, error) {
	hash := sha256.New()
	release := func(dir, module string) (string, error) {
		text, err := os.ReadFile(filepath.Join(source, dir, "go.mod"))
		if err != nil {
			return "", fmt.Errorf("reading which release of %s is pinned: %w", module, err)
		}
		sums, err := os.ReadFile(filepath.Join(source, dir, "go.sum"))
		if err != nil {
			return "", fmt.Errorf("reading the checksums of %s: %w", module, err)
		}
		hash.Write(text)
		hash.Write(sums)
		return pinned(string(text), module)
	}
	kubernetes, err := release("kubernetes", kubernetesModule)
	if err != nil {
		return pins{}, err
	}
	etcd, err := release("etcd", etcdModule)
	if err != nil {
		return pins{}, err
	}
	return pins{kubernetes: kubernetes, etcd: etcd, sum: hex.EncodeToString(hash.Sum(nil))[:16]}, nil
}

// pinned finds the version that a go.mod requires of module.
func pinned(gomod, module string) (string, error) {
	line := regexp.MustCompile(`(?m)^(?:require)?\s+` + regexp.QuoteMeta(module) + `\s+(v\d+\.\d+\.\d+\S*)`)
	found := line.FindStringSubmatch(gomod)
	if found == nil {
		return "", fmt.Errorf("go.mod does not require %s with a version like v1.2.3", module)
	}
	return found[1], nil
}

// current reports whether bin holds all binaries, marked as those of want.
func current(bin string, want pins) bool {
	text, err := os.ReadFile(filepath.Join(bin, stampName))
	if err != nil {
		return false
	}
	if first, _, _ := strings.Cut(string(text), "\n"); first != want.stamp() {
		return false
	}
	for _, name := range binaries {
		if info, err := os.Stat(filepath.Join(bin, name)); err != nil || info.Size() == 0 || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

func writeStamp(bin string, want pins, how string) error {
	text := want.stamp() + "\n" + how + "\n"
	if err := os.WriteFile(filepath.Join(bin, stampName), []byte(text), 0o644); err != nil {
		return fmt.Errorf("noting which control plane is installed: %w", err)
	}
	return nil
}

// adopt reports whether binaries without a stamp are the wanted ones all the same: put there by hand or by a cache.
func adopt(ctx context.Context, bin string, want pins) bool {
	if _, err := os.Stat(filepath.Join(bin, stampName)); err == nil {
		return false
	}
	for name, version := range map[string]string{
		"etcd": strings.TrimPrefix(want.etcd, "v"), "kube-apiserver": want.kubernetes, "kubectl": want.kubernetes,
	} {
		if !strings.Contains(reported(ctx, filepath.Join(bin, name)), version+"\n") {
			return false
		}
	}
	return true
}

// reported returns what a binary says about its version, or nothing if it can't be run.
func reported(ctx context.Context, path string) string {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	args := []string{"--version"}
	if filepath.Base(path) == "kubectl" {
		args = []string{"version", "--client"}
	}
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		return ""
	}
	return string(out)
}
