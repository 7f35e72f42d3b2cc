package capture

// LiveOptions say where and how packets are captured.
type LiveOptions struct {
	// Interface is its name; "any" is all of them.
	Interface string
	// Netns is the path of a network namespace, such as /run/netns/NAME; empty for the own one.
	Netns string
	// RingBytes is the memory that the kernel may fill before packets are lost.
	RingBytes int
}
