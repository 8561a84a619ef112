// Package nodejs is test support: it installs the npm packages that test/interop/package-lock.json pins, and drives
// programs that run on them. Only tests and benchmarks import it.
package nodejs
