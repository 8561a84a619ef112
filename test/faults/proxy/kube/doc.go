// Package kube is test support: a proxy before a Kubernetes API server that speaks plain HTTP on loopback, holds the credentials
// itself, and refuses, delays, loses or freezes the requests and watches that a test names.
package kube
