package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

const (
	lookInterval  = 250 * time.Millisecond
	plainInterval = 2 * time.Second
	barWidth      = 40
)

// Follow shows the progress of a namespace's campaigns until each has ended, and returns them. It fails if one is
// stalled for a reason that somebody has to mend, and when ctx ends.
func Follow(ctx context.Context, c client.Client, namespace string, out io.Writer, terminal bool) ([]v1alpha1.EmailCampaign, error) {
	display := &display{out: out, terminal: terminal}
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		var list v1alpha1.EmailCampaignList
		if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("listing campaigns: %w", err)
		}
		display.show(list.Items, time.Now())
		if err := stalled(list.Items); err != nil {
			display.end()
			return list.Items, err
		}
		if ended(list.Items) {
			display.end()
			return list.Items, nil
		}
		select {
		case <-ctx.Done():
			display.end()
			return list.Items, fmt.Errorf("waiting for the campaigns: %w", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

func ended(campaigns []v1alpha1.EmailCampaign) bool {
	for _, c := range campaigns {
		if c.Status.TerminalState == "" {
			return false
		}
	}
	return len(campaigns) > 0
}

func stalled(campaigns []v1alpha1.EmailCampaign) error {
	var errs []error
	for _, c := range campaigns {
		condition := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionStalled)
		if condition != nil && c.Status.TerminalState == "" {
			errs = append(errs, fmt.Errorf("campaign %s does not go on: %s: %s", c.Name, condition.Reason, condition.Message))
		}
	}
	return errors.Join(errs...)
}

// display is a bar that is drawn over on a terminal, and a plain line now and then elsewhere.
type display struct {
	out      io.Writer
	terminal bool
	last     string
	lastAt   time.Time
}

func (d *display) show(campaigns []v1alpha1.EmailCampaign, now time.Time) {
	var finished, total, accepted int64
	for _, c := range campaigns {
		if r := c.Status.Recipients; r != nil {
			total += r.Total
			finished += r.Total - r.Pending - r.Active - r.Deferred
			accepted += r.Accepted
		}
	}
	line := fmt.Sprintf("%d campaigns, %d/%d recipients, %d accepted", len(campaigns), finished, total, accepted)
	if total == 0 {
		line = fmt.Sprintf("%d campaigns, recipients are being written", len(campaigns))
	}
	if line == d.last {
		return
	}
	switch {
	case d.terminal:
		fmt.Fprintf(d.out, "\r\x1b[K%s %s", bar(finished, total), line)
	case finished == total || now.Sub(d.lastAt) >= plainInterval:
		fmt.Fprintln(d.out, line)
	default:
		return
	}
	d.last, d.lastAt = line, now
}

func (d *display) end() {
	if d.terminal {
		fmt.Fprintln(d.out)
	}
}

func bar(finished, total int64) string {
	filled := 0
	if total > 0 {
		filled = int(finished * barWidth / total)
	}
	return "[" + strings.Repeat("█", filled) + strings.Repeat("░", barWidth-filled) + "]"
}
