// Package infra makes a topology real on hosts of any driver, measures what runs there, and takes it away again.
//
// In goes a Spec (topology, directories, the app's binary). Up starts it for one round as child processes of this machine and ends
// with a Running: addresses, processes, facts, logs. A Site keeps it on the hosts of a driver: Plan says what would be created,
// changed, restarted or removed there; Apply does that in order, waits for health, and puts back what ran before when a role
// does not get well. What was made is in each host's inventory first. How hosts are reached is left to infra/host, what a
// difference comes to is left to infra/plan.
//
// What the roles do for a living is not known here; the app is a binary that is started as "APP --config FILE" and answers GET
// /healthz.
package infra
