// Package release describes the binary: version, commit and platform, as the Go tool or make build stamped them into it. Commands print it.
package release

import "runtime/debug"

// Version is the release that this source is, or becomes.
const Version = "0.1.0"

// commit is set by make build, for where the Go tool does not stamp (GOFLAGS=-buildvcs=false, a clone of another account's).
var commit string

// Commit is the commit of the binary, with "+dirty" for uncommitted changes; "" if it was built without version control.
func Commit() string {
	if commit != "" {
		return commit
	}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var revision, dirty string
	for _, s := range build.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + dirty
}
