// Package exchange does what commands do with decoded HTTP exchanges: it reads them from a capture, decodes their bodies by a schema and
// routes, filters and prints them, and sends their requests again to compare the answers. Reading packets and protobuf is left to
// proto/capture and proto/decode, where the exchanges come from (a file, an interface, a host) to the commands.
package exchange
