//go:build tools

// Package etcd pins the etcd release behind the local Kubernetes API server.
package etcd

import _ "go.etcd.io/etcd/server/v3"
