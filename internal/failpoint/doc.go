// Package failpoint marks the places between two side effects, so that a test can cut a process off at any of them.
//
// Without the build tag failpoints its functions do nothing, are inlined, and leave nothing in the binary. With it
// (go build -tags failpoints ./cmd/cartero) the process goes by its environment:
//
//	FAILPOINTS      what to do where; see Parse
//	FAILPOINTS_DIR  a directory of this process alone. Every point that is reached is a line of the file hits in it:
//	                the point, a tab and the detail. When step n of the plan (from 0) is taken, the file taken-n appears
//	                first; a pause ends when the file go-n does.
//
// For example, FAILPOINTS="worker.dotJournaled:3:kill" ends the worker as kill -9 does, the third time that its journal
// has noted a final dot that has not gone out yet.
package failpoint
