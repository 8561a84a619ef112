//go:build nodev

package main

import (
	"context"
	"errors"
)

// runLint stands for `cartero lint` in builds that are to be small, such as the container image.
func runLint(context.Context, cli) error { return notHere("lint") }

// runPreview stands for `cartero preview` in such builds.
func runPreview(context.Context, cli) error { return notHere("preview") }

func notHere(command string) error {
	return errors.New("this build has no " + command + ": build Cartero from source, with `make build`, " +
		"or `go install github.com/cartero-mail/cartero/cmd/cartero@latest`")
}
