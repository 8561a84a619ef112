package kubetest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kubectlTimeout ends a kubectl that hangs.
const kubectlTimeout = 2 * time.Minute

// Kubeconfig writes an administrator's kubeconfig and returns its path. The file lives as long as the test.
func (c *Cluster) Kubeconfig(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, c.env.KubeConfig, 0o600); err != nil {
		tb.Fatalf("Writing the kubeconfig: %v", err)
	}
	return path
}

// Output is what a command said.
type Output struct {
	Stdout string
	Stderr string
	// Err is an *exec.ExitError if the command failed.
	Err error
}

// Kubectl runs the real kubectl against the cluster, with input on its standard input.
func (c *Cluster) Kubectl(tb testing.TB, input string, args ...string) Output {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), kubectlTimeout)
	defer cancel()

	// HOME keeps kubectl's caches of other clusters out.
	kubeconfig := c.Kubeconfig(tb)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, c.KubectlPath, args...)
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + filepath.Dir(kubeconfig), "PATH=" + os.Getenv("PATH")}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	err := cmd.Run()
	return Output{Stdout: stdout.String(), Stderr: stderr.String(), Err: err}
}

// MustKubectl is Kubectl for a command that succeeds; it returns its standard output.
func (c *Cluster) MustKubectl(tb testing.TB, input string, args ...string) string {
	tb.Helper()
	output := c.Kubectl(tb, input, args...)
	if output.Err != nil {
		tb.Fatalf("kubectl %s: %v\n%s%s", strings.Join(args, " "), output.Err, output.Stdout, output.Stderr)
	}
	return output.Stdout
}
