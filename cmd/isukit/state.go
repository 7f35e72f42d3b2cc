package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/host/machine"
)

// stateDir returns where running servers and prepared data are kept.
// PersistentPreRunE finds out before a command runs whether it can be told.
func stateDir(cmd *cobra.Command) string {
	dir, _ := findStateDir(cmd)
	return dir
}

func findStateDir(cmd *cobra.Command) (string, error) {
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

// cleanDead cleans up after a killed isukit, before every command: unknown servers would take CPU from the next round.
func cleanDead(cmd *cobra.Command, s streams) error {
	dir, err := findStateDir(cmd)
	if err != nil {
		return err
	}
	st, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing ran there; who only reads rounds need not be able to make it
	}
	if err != nil {
		return err
	}
	if err := ownDirectory(dir, st); err != nil {
		return err
	}
	cleaned, err := machine.CleanDead(cmd.Context(), dir)
	if err != nil {
		return fmt.Errorf("clean up after a killed isukit: %w", err)
	}
	if len(cleaned.Removed) > 0 {
		fmt.Fprintf(s.err, "isukit: removed what a killed isukit had left: %d process(es), %d directory(ies)\n", len(cleaned.Ended), len(cleaned.Removed))
	}
	if err := round.TakeBackLeft(cmd.Context(), dir, ui.SayTo(s.err, false)); err != nil {
		fmt.Fprintf(s.err, "isukit: warning: %v\n", err)
	}
	return nil
}

// ownDirectory refuses a state directory in which others can write: isukit starts and ends programs, as root too, by what is in it.
func ownDirectory(dir string, st fs.FileInfo) error {
	owner, uid := -1, os.Geteuid()
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		owner = int(sys.Uid)
	}
	caller, err := strconv.Atoi(os.Getenv("SUDO_UID"))
	switch {
	case !st.IsDir():
		return ui.UsageError(fmt.Errorf("the state directory %s is not a directory", dir), "name another one with --state-dir")
	case st.Mode().Perm()&0o022 != 0:
		return ui.UsageError(fmt.Errorf("others can write to the state directory %s (mode %#o)", dir, st.Mode().Perm()), "chmod go-w "+dir+", after you have checked its contents, or name another one with --state-dir")
	case owner != uid && !(uid == 0 && err == nil && owner == caller):
		return ui.UsageError(fmt.Errorf("the state directory %s belongs to another user (uid %d)", dir, owner), "name one of your own with --state-dir")
	}
	return nil
}
