// Package compare decides whether one configuration is better than another, and with what confidence. It takes rounds of two sides, paired
// in the order in which they ran. It returns the medians, the ratio B/A with its interval, and a verdict for each metric: better, worse,
// same within a margin, or undecided. It only reads rounds; others run them.
//
// The unit is the round, since hits within a round are not independent of each other. Noise of a shared machine is heavy-tailed, drifts and
// comes in stretches, so rounds of the two sides have to be interleaved in a random order (Order). Then the sign of each pair's difference
// is a fair coin if A and B are alike, with any noise, and the tests here need nothing else. docs/compare.md describes the method and its
// measured error rates.
package compare
