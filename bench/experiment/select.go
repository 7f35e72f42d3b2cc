package experiment

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Limits of the selection: the number of sign vectors that the largest correlation is compared with, the bound of values in robust standard
// deviations, the maximum number of factors, and the least share of a column that must be new among those selected.
const (
	signVectors  = 2000
	clipAt       = 2.5
	mostSelected = 8
	leastNew     = 0.3
)

// estimate is a factor that was selected: its effect on the logarithm of the value, and the standard error.
type estimate struct {
	factor        int
	effect, error float64
}

// selectFactors finds the factors whose effects the differences d show, by forward selection: the largest correlation of a column
// with the clipped residuals enters while it is larger than alpha of those that random signs of the same residuals give.
// Tests on the residuals of what is selected are as in Freedman and Lane 1983. Residuals after a fit are smaller than errors are by
// sqrt((n-|S|)/n), which the signs' correlations make up for. x has a row for each difference, entries 1, -1, or 0 for a factor that was off in both rounds.
func selectFactors(x [][]float64, d []float64, alpha float64, rnd *rand.Rand) []estimate {
	n := len(d)
	if n < 3 {
		return nil
	}
	k := len(x[0])
	var selected []int
	for len(selected) < min(mostSelected, max(1, n-3), k) {
		residual, columns := residuals(x, d, selected)
		clip(residual)
		j, p := strongest(columns, residual, selected, rnd)
		if j < 0 || p > alpha {
			break
		}
		selected = append(selected, j)
	}
	return fit(x, d, selected)
}

// residuals are what the selected factors leave of d and of every column; columns are normalised, nil where too little is left.
func residuals(x [][]float64, d []float64, selected []int) ([]float64, [][]float64) {
	basis := orthonormal(x, selected)
	residual := project(slices.Clone(d), basis)
	columns := make([][]float64, len(x[0]))
	for j := range columns {
		if slices.Contains(selected, j) {
			continue
		}
		c := column(x, j)
		full := floats.Norm(c, 2)
		project(c, basis)
		if left := floats.Norm(c, 2); full > 0 && left > leastNew*math.Sqrt(float64(len(d))) {
			floats.Scale(1/left, c)
			columns[j] = c
		}
	}
	return residual, columns
}

// orthonormal is a basis of the selected columns (modified Gram-Schmidt).
func orthonormal(x [][]float64, selected []int) [][]float64 {
	var basis [][]float64
	for _, j := range selected {
		c := project(column(x, j), basis)
		if n := floats.Norm(c, 2); n > 1e-9 {
			floats.Scale(1/n, c)
			basis = append(basis, c)
		}
	}
	return basis
}

// project takes from v what lies in the basis, and returns v.
func project(v []float64, basis [][]float64) []float64 {
	for _, b := range basis {
		floats.AddScaled(v, -floats.Dot(v, b), b)
	}
	return v
}

// strongest returns the column that correlates most with the residuals and the probability that random signs do as much anywhere.
func strongest(columns [][]float64, residual []float64, selected []int, rnd *rand.Rand) (best int, p float64) {
	best = -1
	var highest float64
	for j, c := range columns {
		if c == nil {
			continue
		}
		if t := math.Abs(floats.Dot(c, residual)); best < 0 || t > highest {
			best, highest = j, t
		}
	}
	if best < 0 {
		return best, 1
	}
	n := float64(len(residual))
	grow := math.Sqrt(n / math.Max(1, n-float64(len(selected))))
	as, flipped := 0, make([]float64, len(residual))
	for range signVectors {
		flip(flipped, residual, rnd)
		for _, c := range columns {
			if c != nil && grow*math.Abs(floats.Dot(c, flipped)) >= highest-1e-12 {
				as++
				break
			}
		}
	}
	return best, float64(1+as) / float64(1+signVectors)
}

// flip sets to to from with random signs.
func flip(to, from []float64, rnd *rand.Rand) {
	var bits uint64
	for i, v := range from {
		if i%64 == 0 {
			bits = rnd.Uint64()
		}
		if bits&1 == 0 {
			v = -v
		}
		to[i] = v
		bits >>= 1
	}
}

// fit estimates the effects of the selected factors together, by least squares on values that are clipped around their fit.
func fit(x [][]float64, d []float64, selected []int) []estimate {
	n, s := len(d), len(selected)
	if s == 0 {
		return nil
	}
	a := mat.NewDense(n, s, nil)
	for c, j := range selected {
		a.SetCol(c, column(x, j))
	}
	// Once more with the wild values drawn in towards the first fit.
	var effects, drawn mat.VecDense
	if effects.SolveVec(a, mat.NewVecDense(n, slices.Clone(d))) != nil {
		return nil
	}
	drawn.MulVec(a, &effects)
	residual := make([]float64, n)
	clip(floats.SubTo(residual, d, drawn.RawVector().Data))
	drawn.AddVec(&drawn, mat.NewVecDense(n, residual))
	if effects.SolveVec(a, &drawn) != nil {
		return nil
	}
	variance := floats.Dot(residual, residual) / math.Max(1, float64(n-s))
	var inverse, gram mat.Dense
	gram.Mul(a.T(), a)
	if inverse.Inverse(&gram) != nil {
		return nil
	}
	list := make([]estimate, s)
	for c, j := range selected {
		list[c] = estimate{factor: j, effect: effects.AtVec(c), error: math.Sqrt(variance * inverse.At(c, c))}
	}
	return list
}

// clip draws values in to clipAt robust standard deviations around zero (the median of their sizes, times 1.4826).
func clip(v []float64) {
	m := clipAt * Spread(v)
	if m <= 0 {
		return
	}
	for i := range v {
		v[i] = math.Max(-m, math.Min(m, v[i]))
	}
}

// Spread is the standard deviation around zero that a normal distribution with the same median size would have.
func Spread(v []float64) float64 {
	sizes := make([]float64, len(v))
	for i, x := range v {
		sizes[i] = math.Abs(x)
	}
	slices.Sort(sizes)
	n := len(sizes)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return 1.4826 * sizes[n/2]
	}
	return 1.4826 * (sizes[n/2-1] + sizes[n/2]) / 2
}

// studentQuantile is the value below which the part p of Student's t distribution with so many degrees of freedom lies.
func studentQuantile(p float64, degrees int) float64 {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(max(1, degrees))}.Quantile(p)
}

func column(x [][]float64, j int) []float64 {
	c := make([]float64, len(x))
	for i := range x {
		c[i] = x[i][j]
	}
	return c
}
