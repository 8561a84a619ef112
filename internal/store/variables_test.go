package store

import (
	"encoding/json"
	"testing"
)

func FuzzVariablesJSON(f *testing.F) {
	for _, seed := range []string{"", "Cádiz", `a"b\c`, "a\nb\x00\x7f", "<b>&amp;</b>", "\u2028\u2029€", "日本語 🎉", "é\u0301", "\ufeff\uffff", "\x80", "a\xff"} {
		f.Add(seed, "city", seed+"x")
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		variables := map[string]string{a: b, b: c, c: a, "n": "1"}
		want, err := json.Marshal(variables)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := variablesJSON(variables); got != string(want) || err != nil {
			t.Fatalf("got %s, %v, want %s", got, err, want)
		}
	})
}

func BenchmarkVariablesJSON(b *testing.B) {
	variables := map[string]string{"city": "Cádiz", "plan": "pro", "since": "2024"}
	b.Run("json.Marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(variables); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("variablesJSON", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := variablesJSON(variables); err != nil {
				b.Fatal(err)
			}
		}
	})
}
