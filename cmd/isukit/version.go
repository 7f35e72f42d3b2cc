package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the release; the commit comes from the build.
const version = "0.1.0"

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

func newVersionCmd(s streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which isukit this is",
		Example: "  isukit version\n  isukit version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return runVersion(s, asJSON)
		},
	}
	jsonFlag(cmd.Flags(), &asJSON)
	return cmd
}

func runVersion(s streams, asJSON bool) error {
	info := versionInfo{Version: version, Commit: buildCommit(), Go: runtime.Version()}
	if asJSON {
		return json.NewEncoder(s.out).Encode(info)
	}
	_, err := fmt.Fprintf(s.out, "isukit %s %s %s\n", info.Version, orDash(info.Commit), info.Go)
	return err
}

// buildCommit is the commit that the Go tool stamped into the binary, with "+dirty" for uncommitted changes; it is
// empty where it was built without version control.
func buildCommit() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var commit, dirty string
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+dirty"
			}
		}
	}
	if commit == "" {
		return ""
	}
	return commit + dirty
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
