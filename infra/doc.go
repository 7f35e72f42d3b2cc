// Package infra makes a topology real on hosts of any driver, measures what runs there, and removes it again.
//
// A Site is what a Spec (topology, directories, the app's binary) makes of the hosts of a driver: Plan lists what would be created, changed,
// restarted or removed there; Apply does that in order, waits for health, and restores what ran before if a role does not become healthy;
// Up and Running are what runs: addresses, processes, facts, logs.
// Each host's inventory records a thing before it is made. infra/host reaches the hosts, infra/plan compares.
//
// The purpose of the roles is unknown here; the app is a binary that is started as "APP --config FILE" and answers GET /healthz.
package infra
