// Package experiment plans rounds that answer three questions, and says what the rounds' outcomes answer: which tunings help,
// hurt or make rounds fail (Screen), where each role should run (Advise), and what the best configuration is that a number of
// rounds finds (Tuner).
//
// It is pure: a plan follows from a seed and from the outcomes so far, so an experiment is resumed by handing it its outcomes
// again. It neither runs rounds nor reads files. docs/experiments.md describes the methods, their sources and their measured
// error rates.
package experiment
