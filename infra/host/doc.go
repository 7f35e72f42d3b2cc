// Package host is what a host can do: hold files, run commands, start and stop processes that are on record.
package host
