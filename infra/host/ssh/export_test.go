package ssh

// Of the package's own, for tests.
const Receive = receive

// ToReceive is a script with its frame.
var ToReceive = toReceive
