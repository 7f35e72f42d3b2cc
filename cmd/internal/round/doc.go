// Package round plays one round: it prepares what is measured, puts load on it (a scenario of isukit's, or a benchmark that somebody
// else wrote), collects what hosts, logs and databases know of it, judges, and makes the record. Options and a project go in, a record
// comes out. Flags, and what is printed, are left to the commands.
package round
