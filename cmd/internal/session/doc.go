// Package session plays rounds of two sides in pairs, interleaved in a random order, as compare does: a plan and a way to play one
// round of a side go in, the rounds that count come out. What the rounds say is left to bench/compare.
package session
