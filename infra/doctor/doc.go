// Package doctor finds known problems of servers before they cost an hour.
//
// Diagnose is pure: every check of Checks makes findings from an Observed. Look, LookAtDatabase, LookAtNginx and Try observe, each through
// a host.Host or a connection of the caller; Lint observes given files. The caller decides what to observe and what to do about the
// findings.
package doctor
