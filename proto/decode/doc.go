// Package decode turns the bytes of one protobuf body into something a person or a program reads, and back.
//
// In go a schema (compiled .proto directories, a FileDescriptorSet, or descriptors of generated Go code), bytes, and where
// known the type; out come a partial message, the faults with their byte offsets and field paths, how well the type fits,
// hints at what the bytes really are, and text or JSON. Without a type it shows the wire format as it is, and says which
// types of the schema fit how well.
//
// Which body has which type is the business of Routes and Resolver. Where bodies come from (a file, a capture, a server)
// is left to the caller.
package decode
