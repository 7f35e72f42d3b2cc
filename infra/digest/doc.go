// Package digest holds what the digests of logs have in common: Times sums up many durations in little memory, and Unpack opens
// a log whether or not it is packed. The packages below it read one kind of log each: access the access logs of proxies, query the
// slow logs of databases.
package digest
