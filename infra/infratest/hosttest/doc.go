// Package hosttest is the suite that every driver of hosts must pass.
package hosttest
