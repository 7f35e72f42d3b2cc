// Package ui is what commands share on the way to and from the person at the terminal: errors with a hint and an exit code,
// tables and JSON, progress, the view of a round that runs, and input files that are read within bounds. It writes to the writer
// that it is given; which flags there are, and what a command does, is left to the commands.
package ui
