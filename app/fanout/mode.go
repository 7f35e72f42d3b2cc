package fanout

// Mode is how a write reaches the replicas. docs/fanout.md describes what each promises and costs.
type Mode string

const (
	// ModeSingle is one database: nothing is fanned out. It promises what the server promises.
	ModeSingle Mode = "single"

	// ModeParallel sends every statement to all replicas in parallel, as contestants do it. IT CORRUPTS DATA, and nothing notices: it is
	// kept so that its price can be measured. Print its Warning at start.
	ModeParallel Mode = "parallel"

	// ModeOrdered runs a statement on the first replica, whose row locks decide the order of conflicting transactions, then on the others in
	// parallel, and commits when all have executed it. A replica that a crash between two commits leaves behind is ejected and named.
	ModeOrdered Mode = "ordered"

	// ModeDurable is ModeOrdered made atomic under any crash: the other replicas prepare (XA), one replica's COMMIT, with a row that
	// records it, is the decision, and then the rest commit. The account needs the right to run XA RECOVER.
	ModeDurable Mode = "durable"

	// ModeKeyed runs writes that share a key (WithKeys) one after the other, and sends each to all replicas in parallel, which commit it
	// alone. It is correct for one app process only, and the keys must cover all that a write reads or changes.
	ModeKeyed Mode = "keyed"

	// ModeReplicated leaves the copying to the servers: writes go to the first replica, the source, of which the others are native
	// replicas; reads go to all, up to MaxLag old, except for those of a Session after its own writes. The account needs the right to see
	// the state of the replication.
	ModeReplicated Mode = "replicated"
)

// Warning is what an app in this mode should write to its log at start; empty for the modes that keep the replicas equal.
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
