package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"isukit/app/dataset"
)

// version is the release; the commit comes from the build.
const version = "0.1.0"

type versionInfo struct {
	Version        string `json:"version"`
	Commit         string `json:"commit,omitempty"`
	Go             string `json:"go"`
	DatasetVersion int    `json:"dataset_version"`
}

func newVersionCmd(out io.Writer) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which isukit-app this is, and which version of the dataset it makes",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return runVersion(out, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func runVersion(out io.Writer, asJSON bool) error {
	info := versionInfo{Version: version, Commit: buildCommit(), Go: runtime.Version(), DatasetVersion: dataset.Version}
	if asJSON {
		return json.NewEncoder(out).Encode(info)
	}
	commit := info.Commit
	if commit == "" {
		commit = "-"
	}
	_, err := fmt.Fprintf(out, "isukit-app %s %s %s dataset %d\n", info.Version, commit, info.Go, info.DatasetVersion)
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
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + dirty
}
