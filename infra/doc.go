// Package infra makes a topology real and measures it: it starts every role, waits until each is healthy, samples what
// they use, and takes everything down again.
//
// In goes a Spec (topology, directories, the app's binary); out comes a Running with addresses, processes, facts and
// logs. The driver is "local": child processes of this machine on 127.0.0.1, without root. What the roles do for a
// living is not known here; the app is a binary that is started as "APP --config FILE" and answers GET /healthz.
package infra
