// Package gitops tests what Argo CD and Flux make of campaigns: the Lua scripts and expressions of config/gitops, run by
// the interpreters that those two use, on objects in each state that the operator writes.
package gitops
