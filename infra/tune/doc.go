// Package tune applies named sets of settings, verifies them on the running servers, and reverts them.
//
// A Tuning is read from a plain file (docs/tuning-files.md). A Target is one kernel or server whose settings are written, on any host.Host.
// A setting has a value on several layers: in a file, in the running server, persisted by it. Before a layer is written its original is on
// the target's disk, fsynced; then it is written and read back. Revert restores every layer from these records; it reports, and leaves
// alone, what others have changed since. scripts/sysctl.sh and scripts/mysql.sh read and write the same records.
package tune
