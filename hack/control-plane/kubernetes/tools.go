//go:build tools

// Package kubernetes pins the Kubernetes release that tests and local use run against.
package kubernetes

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
