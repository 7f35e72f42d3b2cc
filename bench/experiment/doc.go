// Package experiment plans rounds that answer three questions, and evaluates them: which tunings help, hurt or make rounds fail (Screen),
// where each role should run (Advise), and which configuration is the best that a number of rounds finds (Tuner).
//
// It is pure: a plan follows from a seed and from the outcomes so far, so an experiment is resumed by passing it its outcomes again. It
// neither runs rounds nor reads files. docs/experiments.md describes the methods, their sources and their measured error rates.
package experiment
