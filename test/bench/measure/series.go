package measure

import (
	"fmt"
	"math"
	"slices"
)

// Series is one number over all rounds.
type Series struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Values []float64 `json:"values"`
}

// NewSeries computes what tables show of some values.
func NewSeries(values []float64) Series {
	s := Series{Values: values}
	if sorted := slices.Sorted(slices.Values(values)); len(sorted) > 0 {
		s.Median, s.Min, s.Max = Quantile(sorted, 0.5), sorted[0], sorted[len(sorted)-1]
	}
	return s
}

// Of is the series of one number of all samples.
func Of[Sample any](samples []Sample, number func(Sample) float64) Series {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = number(s)
	}
	return NewSeries(values)
}

// Spread is how far the values are apart: highest less lowest, as a share of the median.
func (s Series) Spread() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.Max - s.Min) / s.Median
}

// Text is the median, and lowest and highest in brackets, each with so many digits behind the point.
func (s Series) Text(digits int) string {
	if len(s.Values) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, s.Median, digits, s.Min, digits, s.Max)
}

// Quantile of sorted values: the smallest that at least this share is not above; 0 without values.
func Quantile(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(share*float64(len(sorted)))), 1)-1]
}
