package main

import "testing"

func TestPercentFor(t *testing.T) {
	t.Parallel()
	for held, want := range map[uint64]int{0: 6400, 1 << 20: 6400, 8 << 20: 800, 32 << 20: 200, 64 << 20: 100, 1 << 30: 100} {
		if got := percentFor(held); got != want {
			t.Errorf("%d bytes: got %d, want %d", held, got, want)
		}
	}
}
