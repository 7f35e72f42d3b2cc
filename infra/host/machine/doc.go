// Package machine makes this machine play hosts: the drivers local and lab.
//
// A local host is a directory; its services are processes on loopback. A lab host is more: network, mount and UTS
// namespaces that a holder process keeps, a link to a bridge in a namespace of its own (the switch), and control groups
// with its CPUs and memory. The load generator has a namespace on the same switch; Dial makes its sockets there. Nothing is
// added to the machine's own network namespace.
//
// All that exists is in the file state.json of the driver's directory, which is on disk before the thing is made. A process
// is made as a shell that waits for a line; it is recorded, and then let go. Its maker's death is the end of the shell's
// input, which ends the shell: so what is not on record does not live.
//
// A kept driver leaves its hosts up when isukit ends; a later one finds them in the same state directory. What is not kept
// is taken down by Close, or else, when its isukit has died, by CleanDead.
package machine
