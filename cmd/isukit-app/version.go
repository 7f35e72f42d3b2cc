package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"isukit/app/dataset"
	"isukit/cmd/internal/release"
)

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
		Short: "Print the version of isukit-app and of its dataset",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return runVersion(out, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func runVersion(out io.Writer, asJSON bool) error {
	info := versionInfo{Version: release.Version, Commit: release.Commit(), Go: runtime.Version(), DatasetVersion: dataset.Version}
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
