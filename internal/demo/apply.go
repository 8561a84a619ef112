package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Kubectl runs the real kubectl.
type Kubectl struct {
	// Path is the binary; Kubeconfig the file that it connects with.
	Path       string
	Kubeconfig string
	// Out shows the commands and what they print.
	Out io.Writer
}

// Apply applies a kustomization to a namespace, which is created if need be.
func (k Kubectl) Apply(ctx context.Context, directory, namespace string) error {
	if namespace != "default" {
		if err := k.run(ctx, "create", "namespace", namespace); err != nil {
			return err
		}
	}
	return k.run(ctx, "apply", "--namespace", namespace, "-k", directory)
}

func (k Kubectl) run(ctx context.Context, args ...string) error {
	fmt.Fprintf(k.Out, "$ kubectl %s\n", strings.Join(args, " "))
	var failure bytes.Buffer
	cmd := exec.CommandContext(ctx, k.Path, append([]string{"--kubeconfig", k.Kubeconfig}, args...)...)
	cmd.Stdout = k.Out
	cmd.Stderr = io.MultiWriter(k.Out, &failure)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running kubectl %s: %w: %s", args[0], err, strings.TrimSpace(failure.String()))
	}
	return nil
}
