package experiment

import "gonum.org/v1/gonum/mat"

// ridgeSolve are the coefficients of least squares with a penalty: (X'X + weight I)^-1 X'd.
func ridgeSolve(x [][]float64, d []float64, k int, weight float64) []float64 {
	gram, right := mat.NewSymDense(k, nil), mat.NewVecDense(k, nil)
	for j := range k {
		gram.SetSym(j, j, weight)
	}
	for i, row := range x {
		gram.SymRankOne(gram, 1, mat.NewVecDense(k, row))
		right.AddScaledVec(right, d[i], mat.NewVecDense(k, row))
	}
	var chol mat.Cholesky
	var out mat.VecDense
	// The penalty makes the matrix positive definite for any rows.
	if !chol.Factorize(gram) || chol.SolveVecTo(&out, right) != nil {
		return make([]float64, k)
	}
	return out.RawVector().Data
}
