package faults

import (
	"bytes"
	"os"
	"testing"

	"github.com/cartero-mail/cartero/internal/failpoint"
	"github.com/cartero-mail/cartero/test/harness"
)

// TestNothingOfFailpoints: a binary that was not built for these tests has no failpoints, not even their names.
func TestNothingOfFailpoints(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile(harness.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"FAILPOINTS_DIR"}
	for _, d := range failpoint.All() {
		names = append(names, string(d.Point))
	}
	for _, name := range names {
		if bytes.Contains(program, []byte(name)) {
			t.Errorf("the binary contains %q", name)
		}
	}
}
