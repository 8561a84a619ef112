package sleep_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cartero-mail/cartero/internal/sleep"
)

func TestFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limit, d, took time.Duration
		want           bool
	}{
		"to the end":            {limit: time.Hour, d: time.Minute, took: time.Minute, want: true},
		"the context ends":      {limit: time.Second, d: time.Minute, took: time.Second},
		"nothing to wait for":   {limit: time.Second, d: -time.Minute, want: true},
		"the context had ended": {limit: -time.Second, d: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.limit)
				defer cancel()
				began := time.Now()
				if got := sleep.For(ctx, test.d); got != test.want || time.Since(began) != test.took {
					t.Errorf("For = %t after %s, want %t after %s", got, time.Since(began), test.want, test.took)
				}
			})
		})
	}
}
