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

// runEmbedded stands for `cartero facade --embedded` in such builds.
func runEmbedded(context.Context, cli) error {
	return errors.New("this build has no embedded database and queue: build Cartero from source, with `make build`, " +
		"or set DATABASE_URL and REDIS_URL and leave EMBEDDED out")
}
