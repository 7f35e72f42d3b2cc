// Package tune applies named sets of settings, verifies them on the running servers, and takes them back.
//
// A Tuning is read from a plain file (docs/tuning-files.md); a Target is one kernel or server whose settings are written,
// on any host.Host. A setting has a value on several layers: in a file, in the running server, persisted by it. Before a
// layer is written its original is on the target's disk, fsynced; then it is written and read back. Revert restores every
// layer from these records, and leaves alone, and reports, what somebody else has changed since. scripts/sysctl.sh and
// scripts/mysql.sh read and write the same records.
package tune
