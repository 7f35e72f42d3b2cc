package compare

import "math"

// slopes are the bets of the sequential test. A bet of slope s grows fastest when a log ratio of d has a sign that is
// 1/(1+exp(-s*d)) sure; the range serves effects from 1 % to 100 % under noise from 1 % to 50 %.
var slopes = [...]float64{1, 2.5, 6.25, 15.6, 39, 98, 244, 610, 1526}

// Evidence is how much the log ratios speak against "the true ratio is exp(shift)", as the growth of a stake that was bet on
// their signs, pair by pair, with the odds of a fair coin. When that ratio is the true one, and every difference from it is
// as likely up as down given its size and all pairs before, the stake reaches 1/alpha with a probability of at most alpha,
// at any time, however often one looks: a test martingale, mixed over sizes of the effect in both directions.
func Evidence(logRatios []float64, shift float64) float64 {
	sum := 0.0
	for _, s := range slopes {
		up, down := 1.0, 1.0
		for _, d := range logRatios {
			e := math.Exp(min(max(-s*(d-shift), -700), 700)) // beyond, a factor is 0 or 2, and e no number
			up *= 2 / (1 + e)
			down *= 2 * e / (1 + e)
		}
		sum += up + down
	}
	return sum / float64(2*len(slopes))
}

// anytimeInterval contains every log ratio that the evidence has not refuted at alpha. It is valid at all times together.
func anytimeInterval(d []float64, alpha float64) (low, high float64) {
	reach := 0.01
	for _, x := range d {
		reach = max(reach, 2*math.Abs(x))
	}
	if len(d) < minPairsFor(alpha) {
		return math.Inf(-1), math.Inf(1)
	}
	m := median(d)
	return edge(d, alpha, m, -reach), edge(d, alpha, m, reach)
}

// edge searches from the outside for where the evidence against a log ratio falls below 1/alpha.
func edge(d []float64, alpha, inside, reach float64) float64 {
	const steps = 400
	at := inside + reach
	if Evidence(d, at) < 1/alpha {
		return math.Copysign(math.Inf(1), reach)
	}
	for i := range steps {
		next := inside + reach*(1-float64(i+1)/steps)
		if Evidence(d, next) < 1/alpha {
			return at
		}
		at = next
	}
	return inside
}
