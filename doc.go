// Package isukit holds the files that are not Go but belong in the binary: configuration templates, the front page and
// shell scripts. The commands are in cmd/isukit and cmd/isukit-app; where everything else is, README.md says.
package isukit
