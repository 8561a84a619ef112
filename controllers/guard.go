package controllers

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"sigs.k8s.io/controller-runtime/pkg/log"
)

// errPanicked is all that the status says of a panic, whose value may quote an address.
var errPanicked = errors.New("the operator failed over this campaign, which is a bug: its log has the place")

// isPanic reports whether steps panicked.
func isPanic(err error) bool { return errors.Is(err, errPanicked) }

// guarded runs steps as runSteps does. A panic is the trouble of this campaign alone: the status tells it, and the others go
// on. Without this, the status would be made of a scope that is half filled.
func guarded(ctx context.Context, s *scope, steps ...step) (err error) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		kind := fmt.Sprintf("%T", cause)
		if fault, ok := cause.(runtime.Error); ok { // its text is the runtime's own
			kind = fault.Error()
		}
		log.FromContext(ctx).Error(errPanicked, "Reconciling panicked", "cause", kind, "stack", string(debug.Stack()))
		err = errPanicked
	}()
	return runSteps(ctx, s, steps...)
}
