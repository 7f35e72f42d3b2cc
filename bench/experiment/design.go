package experiment

import (
	"fmt"
	"math/rand/v2"
)

// MaxFactors is how many factors a screen takes: the columns of the largest design.
const MaxFactors = 48

// orders are the sizes of the designs. Each is the order of a Hadamard matrix: a prime of the form 4m+3 plus one (Paley's first
// construction).
var orders = []int{12, 20, 24, 32, 48}

// hadamard returns a Hadamard matrix of one of the orders: entries 1 and -1, rows orthogonal to one another. It is I + S, where S borders the
// quadratic residues of order-1.
// Source: R. Paley, "On orthogonal matrices", J. Math. Phys. 12 (1933); R. Plackett and J. Burman, "The design of optimum
// multifactorial experiments", Biometrika 33 (1946).
func hadamard(order int) [][]int8 {
	q := order - 1
	residue := make([]int8, q)
	for i := 1; i < q; i++ {
		residue[i] = -1
	}
	for i := 1; i < q; i++ {
		residue[i*i%q] = 1
	}
	h := make([][]int8, q+1)
	for i := range h {
		h[i] = make([]int8, q+1)
		for j := range h[i] {
			switch {
			case i == 0 || i == j:
				h[i][j] = 1
			case j == 0:
				h[i][j] = -1
			default:
				h[i][j] = residue[(j-i+q)%q]
			}
		}
	}
	return h
}

// foldRows returns n rows for k factors, entries 1 (on in the first half of a fold-over pair) and -1 (on in the second). Columns,
// signs and order are drawn from rnd. Any block of rows that fills a design has orthogonal columns.
func foldRows(n, k int, rnd *rand.Rand) ([][]int8, error) {
	if k < 1 || k > MaxFactors {
		return nil, fmt.Errorf("%d factors: a screen takes 1 to %d", k, MaxFactors)
	}
	rows := make([][]int8, 0, n)
	for len(rows) < n {
		rows = append(rows, block(orderFor(max(k, n-len(rows))), k, rnd)...)
	}
	return rows[:n], nil
}

// orderFor is the smallest order that has n rows, or the largest that there is.
func orderFor(n int) int {
	for _, order := range orders {
		if order >= n {
			return order
		}
	}
	return orders[len(orders)-1]
}

// block is one whole design: k of its columns in random order, with random signs of rows and columns.
func block(order, k int, rnd *rand.Rand) [][]int8 {
	h := hadamard(order)
	columns := rnd.Perm(order)[:k]
	signs := make([]int8, k)
	for j := range signs {
		signs[j] = coin(rnd)
	}
	rows := make([][]int8, order)
	for i, from := range rnd.Perm(order) {
		rows[i] = make([]int8, k)
		sign := coin(rnd)
		for j, c := range columns {
			rows[i][j] = h[from][c] * signs[j] * sign
		}
	}
	return rows
}

func coin(rnd *rand.Rand) int8 {
	if rnd.IntN(2) == 0 {
		return -1
	}
	return 1
}
