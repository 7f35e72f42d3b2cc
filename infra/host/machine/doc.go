// Package machine simulates hosts on this machine: the drivers local and lab.
//
// A local host is a directory; its services are processes on loopback. A lab host is more: network, mount and UTS namespaces that a holder
// process keeps, a link to a bridge in a namespace of its own (the switch), and control groups with its CPUs and memory. The load generator
// has a namespace on the same switch; Dial makes its sockets there. Nothing is added to the machine's own network namespace.
//
// The file state.json of the driver's directory lists all that exists, and is on disk before the thing is made. A process is made as a
// shell that waits for a line; it is recorded, and then released. If its maker dies, the shell's input ends, and the shell exits: so
// nothing runs that is not recorded.
//
// A kept driver leaves its hosts up when isukit ends; a later one finds them in the same state directory. Otherwise Close removes the
// hosts, or CleanDead, if their isukit has died.
package machine
