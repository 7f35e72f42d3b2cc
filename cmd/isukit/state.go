package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/ui"
	"isukit/infra"
)

// stateDir returns where running servers and prepared data are kept.
func stateDir(cmd *cobra.Command) (string, error) {
	dir, err := cmd.Flags().GetString("state-dir")
	if err != nil {
		return "", err
	}
	if dir == "" {
		dir = os.Getenv("XDG_STATE_HOME")
		if dir == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", ui.Hinted(err, "give --state-dir")
			}
			dir = filepath.Join(home, ".local", "state")
		}
		dir = filepath.Join(dir, "isukit")
	}
	return filepath.Abs(dir)
}

// cleanDead clears away what an isukit that was killed has left. It runs before every command: servers that nobody owns
// take CPU from the next round, and their user does not know of them.
func cleanDead(cmd *cobra.Command, s streams) error {
	dir, err := stateDir(cmd)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing ran there; who only reads rounds need not be able to make it
	}
	cleaned, err := infra.CleanDead(cmd.Context(), dir)
	if err != nil {
		return fmt.Errorf("clear away what a killed isukit left: %w", err)
	}
	if len(cleaned.Removed) > 0 {
		fmt.Fprintf(s.err, "isukit: cleared away what a killed isukit had left: %d process(es), %d directory(ies)\n", len(cleaned.Ended), len(cleaned.Removed))
	}
	return nil
}
