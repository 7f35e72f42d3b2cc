package experiment

import "gonum.org/v1/gonum/mat"

// posterior is the mean of linear effects on d, which are normal with these precisions and means before, where d has the variance noise; factor
// becomes that of their precision after.
func posterior(factor *mat.Cholesky, x [][]float64, d, precision, center []float64, noise float64) []float64 {
	n := len(precision)
	gram, right := mat.NewSymDense(n, nil), mat.NewVecDense(n, nil)
	for i, p := range precision {
		gram.SetSym(i, i, p)
		right.SetVec(i, p*center[i])
	}
	for i, row := range x {
		v := mat.NewVecDense(n, row)
		gram.SymRankOne(gram, 1/noise, v)
		right.AddScaledVec(right, d[i]/noise, v)
	}
	var mean mat.VecDense
	// The precisions are above zero, so the matrix is positive definite.
	if !factor.Factorize(gram) || factor.SolveVecTo(&mean, right) != nil {
		return center
	}
	return mean.RawVector().Data
}
