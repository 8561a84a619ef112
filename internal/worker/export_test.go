package worker

import "context"

// Rescue rescues once, as the worker does again and again.
func (w *Worker) Rescue(ctx context.Context) error { return w.rescue(ctx) }
