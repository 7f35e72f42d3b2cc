package fanout

// step names a moment of the write protocol. Tests cut connections, and kill servers and processes, at each of them.
type step string

// The steps of a write in ModeOrdered and ModeDurable, in their order; each is passed for one replica.
const (
	stepFirst     step = "the first replica is to execute"
	stepFirstDone step = "the first replica has executed"
	stepOther     step = "another replica is to execute"
	stepOtherDone step = "another replica has executed" // and may have prepared or be committing, when that is in the same packet
	stepPrepare   step = "another replica is to prepare"
	stepPrepared  step = "another replica has prepared"
	stepCommit    step = "a replica is to commit"
	stepCommitted step = "a replica has committed"
	stepDecide    step = "the first replica is to decide"
	stepDecided   step = "the first replica has decided"
	stepFinish    step = "a prepared replica is to commit"
	stepFinished  step = "a prepared replica has committed"
)

// at tells OnStep that the write of a client has come to s on m.
func (p *group) at(s step, m *member) {
	if f := p.cfg.OnStep; f != nil {
		f(string(s), m.name)
	}
}
