package compare

import "math/rand/v2"

// Order returns for each of n pairs whether B runs first: half of the pairs, in an order drawn from rnd.
func Order(n int, rnd *rand.Rand) []bool {
	order := make([]bool, n)
	for i := range n / 2 {
		order[i] = true
	}
	if n%2 == 1 && rnd.IntN(2) == 1 {
		order[n-1] = true
	}
	rnd.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order
}

// NextFirst decides whether B runs first in the next pair of an open-ended comparison: a fair coin, which keeps the sequential test exact.
func NextFirst(rnd *rand.Rand) bool { return rnd.IntN(2) == 1 }
