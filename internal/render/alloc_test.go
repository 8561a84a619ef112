//go:build !race

// Under the race detector sync.Pool forgets on purpose, so that nothing can be said of allocations.

package render

import "testing"

func TestCheckAllocatesNothing(t *testing.T) { //nolint:paralleltest // others' allocations would count
	p, err := Compile(Templates{Subject: "{{city}}", HTML: "{{name}}{{^nobody}}{{plan}}{{/nobody}}"})
	if err != nil {
		t.Fatal(err)
	}
	r := ana()
	allocations := testing.AllocsPerRun(100, func() {
		if err := p.Check(r); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 0 {
		t.Errorf("%v allocations", allocations)
	}
}
