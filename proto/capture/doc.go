// Package capture turns captured packets into HTTP exchanges.
//
// In goes a pcap or pcapng stream (plain, gzip or zstd), a HAR file, or a live interface, and where there is TLS the
// session keys that one of its ends logged; out come exchanges: a request with its own response, bodies with their
// transfer and content encodings taken off, in the order in which they were completed. What was lost on the way is
// marked where it is missing, and never shifts the pairing of what follows.
//
// What a body means is left to the caller, as is naming connections that are not HTTP/1.x, which come as notes.
// Nothing is held longer than needed: memory does not grow with the length of the capture.
package capture
