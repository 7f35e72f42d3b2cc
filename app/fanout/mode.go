package fanout

// Mode says how a write reaches the replicas.
type Mode string

const (
	// ModeSingle is one database: nothing is fanned out. It promises what the server promises.
	ModeSingle Mode = "single"

	// ModeParallel is the trick as contestants play it, kept so that its price can be measured: every statement is sent to
	// all replicas at once, and the first error cancels the rest. IT CORRUPTS DATA. Concurrent writes to a row are executed
	// in another order on each replica, AUTO_INCREMENT gives them other ids, and a client that gives up while COMMIT is under
	// way leaves a transaction on some replicas only. Nothing notices: no replica is ever ejected. One round trip a write. Print
	// its Warning at start.
	ModeParallel Mode = "parallel"

	// ModeOrdered runs a statement on the first replica, whose row locks decide the order of conflicting transactions, then
	// on the others in parallel, and commits when all have executed it. Right for any number of app processes. Two round
	// trips a statement and one, with all replicas' flushes at once, a COMMIT; with two replicas, a write by itself commits on
	// the second one in the packet that executes it. A crash between the replicas' commits leaves a
	// replica behind: it is ejected and named, by the write itself or by the next Open.
	ModeOrdered Mode = "ordered"

	// ModeDurable is ModeOrdered made atomic under any crash: the other replicas prepare (XA), the first one's COMMIT, with a row
	// that says so, is the decision, and then they commit. A replica that was prepared when the app or a server died is brought
	// to the decision by the next Open, or by any other app process within seconds. With two replicas, a write by itself is prepared
	// on the first one and decided on the other, which spares a packet. Three flushes, one after the other, where
	// ModeOrdered has one, and one round trip more. The account needs the right to run XA RECOVER.
	ModeDurable Mode = "durable"

	// ModeKeyed runs writes that share a key (WithKeys) one after the other, and sends each to all replicas at once, which
	// commit it by themselves: one round trip, as fast as ModeParallel, without its reordering. Transactions, and inserts that
	// generate ids, take ModeOrdered's way under their keys. Right for one app process only; Open refuses when another one is
	// there, and the keys must cover all that a write reads or changes. A replica that answers otherwise is ejected, after the
	// fact.
	ModeKeyed Mode = "keyed"

	// ModeReplicated leaves the copying to the servers: every write goes to the first replica, the source, of which the others
	// are native replicas, asynchronous or semi-synchronous, with GTIDs; reads go to all. One round trip a statement. A write that was
	// acknowledged is on the source only until it has been copied: with asynchronous replication a crash of the source may
	// lose it. Reads may be up to MaxLag old; a Session waits for what it wrote. A replica whose replication is late or has
	// stopped is left out of reads, and named, until it has caught up. The source is never replaced: while it is gone, writes
	// fail and reads go on. The account needs the right to see the state of the replication.
	ModeReplicated Mode = "replicated"
)

// Warning is what an app that starts in this mode should say to whoever reads its log; empty for the modes that keep the
// replicas equal.
func (m Mode) Warning() string {
	if m != ModeParallel {
		return ""
	}
	return "write mode parallel corrupts data: replicas will differ, and nothing will notice; it is kept to measure its price"
}

// Modes are those that exist.
func Modes() []Mode {
	return []Mode{ModeSingle, ModeOrdered, ModeDurable, ModeKeyed, ModeParallel, ModeReplicated}
}
