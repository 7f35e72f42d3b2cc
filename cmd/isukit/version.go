package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/release"
	"isukit/cmd/internal/ui"
)

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

func newVersionCmd(s streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of isukit",
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
	info := versionInfo{Version: release.Version, Commit: release.Commit(), Go: runtime.Version()}
	if asJSON {
		return json.NewEncoder(s.out).Encode(info)
	}
	_, err := fmt.Fprintf(s.out, "isukit %s %s %s\n", info.Version, ui.OrDash(info.Commit), info.Go)
	return err
}
