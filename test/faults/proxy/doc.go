// Package proxy is test support: what the proxies have in common that stand between cartero and the servers that it needs,
// understand what passes, and break exactly what a test says. A test arms a rule, waits until it was hit, and releases what
// it holds; nothing here depends on how fast a machine is.
//
// The packages below it speak the protocols: mysql, redis, kube.
package proxy

import "time"

// patience bounds every wait for something that must happen.
const patience = 3 * time.Minute
