//go:build nodev

package main

import (
	"context"
	"errors"

	"github.com/cartero-mail/cartero/internal/check"
)

// runLint stands for `cartero lint` in builds without the API server's checks, such as the container image.
func runLint(context.Context, cli) error {
	return errors.New("this build has no lint: it is in the programs that releases have for download, and in those that " +
		"`make build` makes of the source")
}

// manifestSchema is nothing in such builds: a preview does without.
func manifestSchema() (check.Schema, error) { return nil, nil } //nolint:nilnil // no schema is no error
