// Command golangci-lint is golangci-lint with the Kubernetes API linter (KAL) compiled in.
//
// `golangci-lint custom` builds the same thing from a git clone of golangci-lint. This builds it from the module
// versions that go.mod pins, so that the module proxy and its checksums are all that it needs.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/golangci/golangci-lint/v2/pkg/commands"
	"github.com/golangci/golangci-lint/v2/pkg/exitcodes"

	_ "sigs.k8s.io/kube-api-linter" // registers the module plugin "kubeapilinter"
)

const golangciModule = "github.com/golangci/golangci-lint/v2"

func main() {
	if err := commands.Execute(buildInfo()); err != nil {
		fmt.Fprintf(os.Stderr, "golangci-lint: %v\n", err)
		os.Exit(exitcodes.Failure)
	}
}

// buildInfo describes this binary by the version of golangci-lint that it was linked with: the linter compares it
// with the version that the configuration asks for, and puts it into its cache keys.
func buildInfo() commands.BuildInfo {
	info := commands.BuildInfo{GoVersion: "unknown", Version: "unknown", Commit: "with kube-api-linter", Date: "unknown"}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	info.GoVersion = build.GoVersion
	for _, module := range build.Deps {
		if module.Path == golangciModule {
			info.Version = strings.TrimPrefix(module.Version, "v")
		}
	}
	return info
}
