// Package host is what a host can do for isukit: keep files, run commands, start and stop services.
//
// Host is the contract, Driver makes hosts real. Those of this machine are in package machine, others in package ssh; one suite
// (hosttest) runs over all.
package host
