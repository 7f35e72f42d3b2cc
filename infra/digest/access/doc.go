// Package access digests the access logs of nginx and Envoy: lines of JSON, of LTSV, or in the shape of a log_format go in,
// one Route for each method and kind of path comes out, with counts, times, sizes and what could not be read. It holds
// neither lines nor single times, so a log may be of any size. Where logs lie and how they are shown is left to others.
package access
