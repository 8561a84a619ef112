// Package harness is test support: the real binary, built once for a test binary and run as a user runs it, with what it
// needs around it, and a guard that ends every process of the tests however these end. It is imported from _test.go
// files only.
//
//	func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
package harness

import "time"

// Patience bounds every wait for another process, on a busy machine.
const Patience = 3 * time.Minute

// pollInterval is the time between two looks at another process.
const pollInterval = 50 * time.Millisecond
