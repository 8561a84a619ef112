package bull

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cartero-mail/cartero/internal/queue/lua"
)

var (
	//go:embed scripts/progress.lua
	progressSource string
	//go:embed scripts/log.lua
	logSource string
	//go:embed scripts/update.lua
	updateSource string

	progressScript = newScript("progress", progressSource)
	logScript      = newScript("log", logSource)
	updateScript   = newScript("update", updateSource)
)

// Progress stores how far the job is, as JSON, and tells it to Bull's listeners (global:progress, job.progress()). Bull
// gives the value no meaning; a number from 0 to 100 is what its dashboards show. ErrJobMissing and ErrLockLost mean that
// nothing was written.
func (d *Delivery) Progress(ctx context.Context, value any) error {
	progress, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding the progress of job %s: %w", d.ID, err)
	}
	event, err := json.Marshal(struct {
		JobID    string          `json:"jobId"`
		Progress json.RawMessage `json:"progress"`
	}{d.ID, progress})
	if err != nil {
		return fmt.Errorf("encoding the progress of job %s: %w", d.ID, err)
	}
	k := d.queue.keys
	keys := []string{k.job(d.ID), k.lock(d.ID), k.progress()}
	return d.write(ctx, "storing the progress", progressScript, keys, d.token, progress, event)
}

// Log adds a row to the job's log, which Bull's getJobLogs reads. With keep above 0 only the newest keep rows stay.
// ErrJobMissing and ErrLockLost mean that nothing was written.
func (d *Delivery) Log(ctx context.Context, row string, keep int) error {
	if keep < 0 {
		return fmt.Errorf("logging to job %s: keep must not be negative", d.ID)
	}
	k := d.queue.keys
	return d.write(ctx, "logging", logScript, []string{k.job(d.ID), k.lock(d.ID), k.logs(d.ID)}, d.token, row, keep)
}

// Update replaces the job's data, as Bull's job.update does: a further attempt, whoever makes it, gets the new data.
// d.Data is not changed. ErrJobMissing and ErrLockLost mean that nothing was written.
func (d *Delivery) Update(ctx context.Context, data []byte) error {
	if !json.Valid(data) {
		return fmt.Errorf("updating job %s: %w", d.ID, errors.New("data must be JSON"))
	}
	k := d.queue.keys
	return d.write(ctx, "updating", updateScript, []string{k.job(d.ID), k.lock(d.ID)}, d.token, data)
}

// write calls a script that returns 0, or a code.
func (d *Delivery) write(ctx context.Context, doing string, s lua.Script, keys []string, args ...any) error {
	code, err := s.Run(ctx, d.queue.client, keys, args...).Int64()
	if err == nil {
		err = codeError(code)
	}
	if err != nil {
		return fmt.Errorf("%s, job %s: %w", doing, d.ID, err)
	}
	return nil
}
