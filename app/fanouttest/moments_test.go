package fanouttest

import "forge.example/account/isukit/app/fanout"

// moment is a step at which a write can be on a replica, named by its place: r1 is the first one.
type moment struct{ Step, Replica string }

// moments are those of a write in a mode over two replicas.
func moments(mode fanout.Mode) []moment {
	common := []moment{
		{"the first replica is to execute", "r1"}, {"the first replica has executed", "r1"},
		{"another replica is to execute", "r2"}, {"another replica has executed", "r2"},
	}
	if mode == fanout.ModeDurable {
		return append(common, moment{"another replica is to prepare", "r2"}, moment{"another replica has prepared", "r2"},
			moment{"the first replica is to decide", "r1"}, moment{"the first replica has decided", "r1"},
			moment{"a prepared replica is to commit", "r2"}, moment{"a prepared replica has committed", "r2"},
			moment{"the first replica is to decide", "r2"}, moment{"the first replica has decided", "r2"},
			moment{"a prepared replica is to commit", "r1"}, moment{"a prepared replica has committed", "r1"})
	}
	return append(common, moment{"a replica is to commit", "r1"}, moment{"a replica is to commit", "r2"},
		moment{"a replica has committed", "r1"}, moment{"a replica has committed", "r2"})
}
