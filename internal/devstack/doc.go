// Package devstack is what `cartero dev` embeds where nothing else is configured: a local Kubernetes API server, an
// in-process Redis and an SMTP inbox with a web page, all on loopback, with their data in one directory.
package devstack
