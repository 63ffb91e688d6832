// Package figure turns what was measured into figures: medians with their
// spread, ratios of neighbours, and the table.
package figure

import (
	"cmp"
	"fmt"
	"slices"
)

// A Spread is a median with the least and the most.
type Spread struct{ Median, Min, Max float64 }

// Of is the spread of v; of none, all are zero. The median of an even number is
// the mean of the middle two.
func Of(v []float64) Spread {
	if len(v) == 0 {
		return Spread{}
	}
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return Spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1]}
}

// Ratios are a[i]/b[i], as far as both go: what was measured next to each other
// in time is compared, so that a slow minute of the machine is in both.
func Ratios(a, b []float64) []float64 {
	r := make([]float64, min(len(a), len(b)))
	for i := range r {
		r[i] = a[i] / b[i]
	}
	return r
}

// Percentile is the smallest of v that at least p of 100 of v do not exceed
// (the nearest rank); the zero value of none.
func Percentile[T cmp.Ordered](v []T, p int) T {
	if len(v) == 0 {
		var none T
		return none
	}
	v = slices.Sorted(slices.Values(v))
	rank := (len(v)*p + 99) / 100
	return v[max(rank, 1)-1]
}

// String is s with its spread, to three digits.
func (s Spread) String() string {
	if s.Min == s.Max {
		return digits(s.Median)
	}
	return fmt.Sprintf("%s (%s..%s)", digits(s.Median), digits(s.Min), digits(s.Max))
}

// digits is v with about three digits that count.
func digits(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
