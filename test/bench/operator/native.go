package main

import (
	"math"

	dto "github.com/prometheus/client_model/go"
)

// native are the buckets of a native histogram: the observations by the upper bound of their bucket. Bucket i ends at
// 2^(i/2^schema) (Prometheus, "Native Histograms").
func native(h *dto.Histogram) map[float64]uint64 {
	counts := map[float64]uint64{}
	base := math.Pow(2, math.Pow(2, -float64(h.GetSchema())))
	index, at, n := 0, 0, int64(0)
	for _, span := range h.GetPositiveSpan() {
		index += int(span.GetOffset())
		for range span.GetLength() {
			n += h.GetPositiveDelta()[at] // each is told as the difference to the one before
			if n > 0 {
				counts[math.Pow(base, float64(index))] += uint64(n)
			}
			index++
			at++
		}
	}
	return counts
}
