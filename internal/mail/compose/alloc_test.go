//go:build !race

// Under the race detector sync.Pool forgets on purpose, so that nothing can be said of allocations.

package compose

import "testing"

func TestAppendAllocatesNothing(t *testing.T) { //nolint:paralleltest // others' allocations would count
	template, err := NewTemplate(newsletter())
	if err != nil {
		t.Fatal(err)
	}
	to := newRecipient()
	buffer := make([]byte, 0, 64<<10)
	allocations := testing.AllocsPerRun(200, func() {
		m, err := template.Append(buffer[:0], to)
		if err != nil {
			t.Fatal(err)
		}
		buffer = m.Raw
		if err := template.Check(to); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 0 {
		t.Errorf("%v allocations", allocations)
	}
}
