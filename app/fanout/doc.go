// Package fanout gives an app one true *sqlx.DB over several databases with the same tables (replicas): every write goes to all replicas,
// each read to one healthy replica. A Config names the replicas and the write mode; Open returns a Pool. The constants of the modes and
// docs/fanout.md describe what each promises and costs.
//
// The package neither logs nor reads flags or environment: its messages are errors, Status and Metrics.
package fanout
