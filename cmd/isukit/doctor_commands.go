package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/ui"
	"isukit/infra/doctor"
	"isukit/input"
)

const maxTargets = 1 << 20

// newDoctorProbeCmd is what a host runs to try ways to others. It is for isukit alone.
func newDoctorProbeCmd(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "probe", Hidden: true, Args: cobra.NoArgs, Short: "Try the targets of the standard input",
		// A host has no state directory of this user's to be cleaned.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := io.ReadAll(io.LimitReader(ui.Interruptible(cmd.Context(), s.in), maxTargets))
			if err != nil {
				return err
			}
			var targets []doctor.Target
			if err := json.Unmarshal(text, &targets); err != nil {
				return ui.UsageError(err, "")
			}
			return json.NewEncoder(s.out).Encode(doctor.Try(cmd.Context(), targets))
		},
	}
}

func newDoctorLintCmd(o *doctorOptions, s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "lint PATH...",
		Short: "Check files for known problems: SQL, sources, manifests, nginx.conf, bodies",
		Long: `Check files for known problems, without a server; in a directory, all files that a check reads.
SQL that MySQL 8 rejects; JSON_CONTAINS with a bare placeholder; limits without requests under a VerticalPodAutoscaler; diffs that
remove serviceAccountName; TLS that a private key cannot decrypt (nginx's .conf); gRPC frames in bodies (.bin, .pb, or .http from
curl -i); Wireshark's protobuf_search_paths against .proto files. Exit code 3: findings of severity warn or crit.`,
		Example: "  isukit doctor lint sql/ webapp/go k8s/\n  isukit doctor lint /etc/nginx/nginx.conf --json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			checks, err := doctor.Select(doctor.Checks(), o.only, o.skip)
			if err != nil {
				return ui.UsageError(err, `"isukit doctor --ls" lists the checks`)
			}
			files, err := filesBelow(args)
			if err != nil {
				return ui.UsageError(err, "name files or directories")
			}
			return printFindings(s.out, doctor.Diagnose(&doctor.Observed{Files: files}, checks), len(checks), o.asJSON)
		},
	}
}

const (
	maxLintFile  = 4 << 20
	maxLintFiles = 20000
)

// filesBelow reads the files, and those below the directories that a check may want.
func filesBelow(paths []string) ([]doctor.File, error) {
	var files []doctor.File
	for _, root := range paths {
		err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && file != root && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "vendor") {
				return filepath.SkipDir
			}
			if file != root && (!d.Type().IsRegular() || !doctor.Reads(file)) || d.IsDir() {
				return nil
			}
			if len(files) == maxLintFiles {
				return fmt.Errorf("more than %d files", maxLintFiles)
			}
			text, err := input.Read(file, maxLintFile)
			if err != nil {
				if file != root { // too large for a source, or closed
					return nil
				}
				return err
			}
			files = append(files, doctor.File{Path: file, Text: text})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}
