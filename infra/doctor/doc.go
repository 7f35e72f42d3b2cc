// Package doctor finds the known traps of servers before they cost an hour.
//
// Observed goes in, findings come out: Diagnose is pure, and every check of Checks is a function of what was observed. Look,
// LookAtDatabase, LookAtNginx and Try observe, each through a host.Host or a connection that the caller has; Lint observes
// files that are given. Whoever calls decides which of them to ask and what to do about the findings.
package doctor
