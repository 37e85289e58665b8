package sim

import (
	"math"
	"slices"
)

// Percentile is the p-th (0 to 1) of values, interpolated; NaN of none.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Clone(values)
	slices.Sort(s)
	x := p * float64(len(s)-1)
	i := int(x)
	if i+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[i] + (x-float64(i))*(s[i+1]-s[i])
}

// Milliseconds lists what the reads took.
func (r *SeekResult) Milliseconds() []float64 {
	var v []float64
	for _, x := range r.Reads {
		v = append(v, x.Took.Seconds()*1e3)
	}
	return v
}

// Ratios lists what the reads took over their bounds, reads that had none left out.
func (r *SeekResult) Ratios() []float64 {
	var v []float64
	for _, x := range r.Reads {
		if x.Bound > 0 {
			v = append(v, float64(x.Took)/float64(x.Bound))
		}
	}
	return v
}

// Bounds lists the bounds in milliseconds.
func (r *SeekResult) Bounds() []float64 {
	var v []float64
	for _, x := range r.Reads {
		if x.Bound > 0 {
			v = append(v, x.Bound.Seconds()*1e3)
		}
	}
	return v
}
