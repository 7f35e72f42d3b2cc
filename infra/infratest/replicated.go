package infratest

import (
	"testing"

	"isukit/infra/dbserver"
)

// Replicated is a source and its replicas, which copy from it by the server's own replication.
type Replicated struct {
	DBs []*DB // the source is the first

	how dbserver.Replication
}

// StartReplicated starts n instances of the engine, all but the first of which replicate from the first, asynchronously or
// semi-synchronously. The options args are as those of StartDB.
func StartReplicated(tb testing.TB, engine string, n int, semiSync bool, args ...string) *Replicated {
	tb.Helper()
	r := &Replicated{how: dbserver.Replication{Engine: dbserver.Engine(engine), SemiSync: semiSync, User: "copy", Password: "for-tests-only"}}
	for i := range n {
		r.DBs = append(r.DBs, StartDB(tb, engine, append(r.how.Args(i+1, i > 0), args...)...))
	}
	source := r.DBs[0]
	source.Exec(tb, r.how.UserSQL("127.0.0.1")...)
	for _, db := range r.DBs[1:] {
		db.Exec(tb, r.how.StartSQL(source.Host, source.Port)...)
	}
	return r
}

// StopCopying stops the replication of the replica at index i, which stays readable. ResumeCopying ends that.
func (r *Replicated) StopCopying(tb testing.TB, i int) {
	tb.Helper()
	r.DBs[i].Exec(tb, r.how.StopSQL())
}

// ResumeCopying lets a replica whose replication was stopped, by itself or by StopCopying, go on.
func (r *Replicated) ResumeCopying(tb testing.TB, i int) {
	tb.Helper()
	r.DBs[i].Exec(tb, r.how.StopSQL(), r.how.ResumeSQL())
}
