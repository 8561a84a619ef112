//go:build nodev

package main

import (
	"context"
	"errors"
)

// runDev stands for the development stack in builds without it, such as the container image.
func runDev(context.Context, cli) error {
	return errors.New("this build has no development stack: build Cartero from source, with `make build`")
}
