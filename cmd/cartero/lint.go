//go:build !nodev

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cartero-mail/cartero/controllers/check"
	"github.com/cartero-mail/cartero/internal/crdschema"
)

const lintSummary = `cartero lint checks manifests and lists as the API server and the controller would, without a cluster:

  cartero lint FILE...            files, directories, or - for standard input

ConfigMaps and Secrets among the files are where references of campaigns lead to, as are those that a kustomization.yaml
generates of files and literals. Other kinds are ignored. What is not among the files can't be checked: that is a warning.

  --list FILE                     the list of campaigns whose list is not among the files
  --fetch                         fetch what urlRef names
  --output text|json              how findings are written (default: text)
  --strict                        warnings count as errors
  --show-addresses                findings quote addresses and values

The exit code is 0 without errors, 1 with errors, 2 if the command line is wrong or a file can't be read`

// runLint checks manifests.
func runLint(ctx context.Context, c cli) error {
	call := splitCheckArgs(c.args, map[string]bool{"list": true, "fetch": false, "output": true, "strict": false, "show-addresses": false})
	output := call.oneOf("output", "text", "json")
	if len(call.files) == 0 {
		call.problem("arguments", "say which files to check, or - for standard input")
	}
	checks, set, err := openCheck(c, &call, "lint", lintSummary, call.files)
	if err != nil {
		return err
	}
	checks.ShowAddresses = call.own["show-addresses"] != ""
	report, err := check.Lint(ctx, set, checks)
	if err != nil {
		return err
	}
	write := report.WriteText
	if output == "json" {
		write = report.WriteJSON
	}
	if err := write(c.stdout); err != nil {
		return fmt.Errorf("writing the findings: %w", err)
	}
	if report.Errors > 0 || report.Warnings > 0 && call.own["strict"] != "" {
		return errors.New("the manifests are not in order")
	}
	return nil
}

// manifestSchema is the API server's part of checking.
func manifestSchema() (check.Schema, error) { return crdschema.New() }
