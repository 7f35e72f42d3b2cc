// Package query digests what databases say about the statements that they ran: slow logs of MySQL and MariaDB, or two
// readings of performance_schema, go in; one Query for each fingerprint comes out. It holds no statement but the slowest of
// each fingerprint, so a log may be of any size. Where logs lie and how they are shown is left to others.
package query
