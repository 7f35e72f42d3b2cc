// Package infratest starts real servers for tests: private MariaDB, MySQL and nginx instances on 127.0.0.1, each with
// its own directory, port, socket and password, gone when the test ends (and also when the test process is killed).
//
//	func TestX(t *testing.T) {
//		for _, engine := range infratest.Engines(t) {
//			t.Run(engine, func(t *testing.T) {
//				db := infratest.StartDB(t, engine)
//				pool := db.Open(t, "")
//				...
//				db.Kill() // as a power failure would
//				db.Restart()
//			})
//		}
//	}
//
// Such tests run when the environment has ISUKIT_TEST_REAL=1 and are skipped, with that sentence, when it has not.
// When they run, a missing server fails them. Starting takes about a second the first time on a machine and a few
// tenths after that: initialised data directories are kept in .local/cache of the repository.
package infratest
