// Package compare says whether one configuration is better than another, and how sure that is. Rounds of two sides go in,
// paired in the order in which they ran; out come medians, the ratio B/A with its interval, and a verdict for each metric:
// better, worse, same within a margin, or undecided. It reads rounds and nothing else; running them is left to others.
//
// The unit is the round, since hits within a round are not independent of each other. Noise of a shared machine is
// heavy-tailed, drifts and comes in stretches, so rounds of the two sides have to be interleaved in a random order (Order);
// then the sign of each pair's difference is a fair coin whenever A and B are alike, whatever the noise, and the tests here
// need nothing else. docs/compare.md tells the method and its measured error rates.
package compare
