// Package crd carries the CustomResourceDefinitions, as they are in bases, for commands that install them.
package crd

import "embed"

// Bases are the manifests that `make generate` writes.
//
//go:embed bases/*.yaml
var Bases embed.FS
