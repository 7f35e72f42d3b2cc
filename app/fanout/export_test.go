package fanout

// WithHook returns c with a function that is called when a write comes to a step of its protocol on a replica.
func WithHook(c Config, hook func(step, replica string)) Config {
	c.hook = hook
	return c
}

// Moment is a step at which a write can be on a replica, named by its place: r1 is the first one.
type Moment struct{ Step, Replica string }

// Moments are those of a write in a mode over two replicas.
func Moments(mode Mode) []Moment {
	common := []Moment{{string(stepFirst), "r1"}, {string(stepFirstDone), "r1"}, {string(stepOther), "r2"}, {string(stepOtherDone), "r2"}}
	if mode == ModeDurable {
		return append(common, Moment{string(stepPrepare), "r2"}, Moment{string(stepPrepared), "r2"},
			Moment{string(stepDecide), "r1"}, Moment{string(stepDecided), "r1"}, Moment{string(stepFinish), "r2"}, Moment{string(stepFinished), "r2"},
			Moment{string(stepDecide), "r2"}, Moment{string(stepDecided), "r2"}, Moment{string(stepFinish), "r1"}, Moment{string(stepFinished), "r1"})
	}
	return append(common, Moment{string(stepCommit), "r1"}, Moment{string(stepCommit), "r2"},
		Moment{string(stepCommitted), "r1"}, Moment{string(stepCommitted), "r2"})
}
