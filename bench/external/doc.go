// Package external runs a benchmark that somebody else wrote, as a command, and finds in its output the score and whether it
// passed. What the command's exit status says is not trusted alone: some benchmarks exit with 0 and say "pass": false. What
// happens beside the run, and where it is kept, is left to others.
package external
