package worker

import "context"

// Renew renews the leases once, as the worker does again and again.
func (w *Worker) Renew(ctx context.Context) error { return w.renew(ctx) }

// Rescue rescues once, as the worker does again and again.
func (w *Worker) Rescue(ctx context.Context) error { return w.rescue(ctx) }
