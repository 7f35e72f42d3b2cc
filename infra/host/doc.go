// Package host is what a host can do for isukit: keep files, run commands, start and stop services.
//
// Host is the contract; Local is this machine (child processes, no root needed) and Memory is the twin for tests. One
// suite runs over both.
//
// A Local has a run directory in a state directory. Every process is written to the inventory in it, and synced to
// disk, before its program begins; a lock on it is held for as long as the isukit that made it lives. Where the lock
// is free, its owner is dead: CleanDead then ends what is on record and removes the directory.
package host
