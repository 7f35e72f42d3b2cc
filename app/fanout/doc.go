// Package fanout gives an app one true *sqlx.DB over several databases that hold the same tables (replicas): writes go
// to every replica, reads to one healthy replica. In goes a Config that names the replicas and the write mode; out comes
// a Pool. What each mode promises and costs is said at its constant and in docs/fanout.md.
//
// The package neither logs nor reads flags or environment: everything it has to say is in errors, Status and Metrics.
package fanout
