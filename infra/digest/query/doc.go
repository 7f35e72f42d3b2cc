// Package query digests statements that databases ran: from slow logs of MySQL and MariaDB, or two readings of performance_schema, it makes
// one Query for each fingerprint. It keeps only the slowest statement of each fingerprint, so a log may be of any size. Finding the logs
// and showing the digest are left to others.
package query
