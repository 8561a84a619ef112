package recipients

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
)

// rows makes a list of n entries as it is read, so that the benchmark's memory is the reader's.
type rows struct {
	n, at int
	rest  []byte
}

func (r *rows) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.at == r.n {
			return 0, io.EOF
		}
		if r.at == 0 {
			r.rest = append(r.rest[:0], "email,name,city,plan\r\n"...)
		}
		for range min(500, r.n-r.at) {
			r.rest = fmt.Appendf(r.rest, "user.%d@example%d.com,\"Núñez, Ana %d\",Cádiz,pro\r\n", r.at, r.at%1000, r.at)
			r.at++
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func BenchmarkReadMillionRows(b *testing.B) {
	b.ReportAllocs()
	const n = 1_000_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		list := New(&rows{n: n}, CSV)
		for {
			if _, err := list.Next(b.Context()); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
		if got := list.Summary().Accepted; got != n {
			b.Fatalf("%d accepted", got)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB-kept")
		runtime.KeepAlive(list)
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkParseAddress(b *testing.B) {
	for _, address := range []string{"ana.ruiz@example.com", "ana.ruiz@Example.com", "jm@münchen.example"} {
		b.Run(address, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseAddress(address); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
