package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/project"
	"isukit/input"
)

// trusted is what was agreed to of one project file, in the state directory.
type trusted struct {
	Path string `json:"path"`
	// SHA256 is of what the file says, without comments and layout.
	SHA256 string `json:"sha256"`
}

// trustProject asks before a command runs commands from a project file that this machine has not seen, or that has changed since: it may
// have come with another person's repository. It does nothing for commands that read no project.
func trustProject(cmd *cobra.Command, s streams) error {
	yes, err := cmd.Flags().GetBool("yes")
	if err != nil || slices.ContainsFunc([]string{"driver", "db", "explain-score"}, cmd.Flags().Changed) {
		return nil // the command runs nothing from a project, or does not use it
	}
	file, err := cmd.Flags().GetString("project")
	if err != nil {
		return err
	}
	if cmd.Flags().Changed("topology") {
		if p, _, err := roundedProject(cmd); err != nil || p == nil || cmd.Name() != "round" {
			return nil // it is about the portal
		}
	}
	if host := cmd.Flags().Lookup("host"); host != nil && !host.Changed {
		return nil // it stays on this machine, and needs no project
	}
	p, dir, err := round.FindProject(file)
	if err != nil || p == nil {
		return nil // the command reports the error
	}
	if cmd.Parent().Name() == "topology" && len(p.Topologies) == 0 {
		return nil // it is about the portal
	}
	return trust(cmd.Context(), s, stateDir(cmd), p, filepath.Join(dir, filepath.Base(cmp.Or(file, project.FileName))), yes)
}

// trust asks whether a project's commands may run, unless they are known or yes is true.
func trust(ctx context.Context, s streams, state string, p *project.Project, file string, yes bool) error {
	now := trustedOf(p, file)
	before, known := readTrusted(state, file)
	if before == now {
		return nil
	}
	if !yes {
		var err error
		why := "is new to this machine"
		if known {
			why = "has changed since its last use"
		}
		fmt.Fprintf(s.err, "isukit: %s %s. It runs these commands:\n%s", now.Path, why, listOf(p.Commands()))
		if yes, _, err = agreed(ctx, s, "isukit: run them?"); err != nil {
			return err
		}
	}
	if !yes {
		return ui.UsageError(fmt.Errorf("%s is not trusted: nothing was run", now.Path), "read the file, then repeat the command with ISUKIT_YES=1, or with --yes if it has that flag")
	}
	return now.keep(state)
}

func trustedOf(p *project.Project, path string) trusted {
	text, _ := json.Marshal(p) // it came from YAML and contains nothing that JSON lacks
	sum := sha256.Sum256(text)
	return trusted{Path: path, SHA256: hex.EncodeToString(sum[:])}
}

func trustFile(state, path string) string {
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(state, "trusted", hex.EncodeToString(sum[:16])+".json")
}

func readTrusted(state, path string) (t trusted, known bool) {
	text, err := input.Read(trustFile(state, path), 64<<10)
	if err != nil || json.Unmarshal(text, &t) != nil || t.Path != path {
		return trusted{}, false
	}
	return t, true
}

func (t trusted) keep(state string) error {
	file := trustFile(state, t.Path)
	text, err := json.Marshal(t)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = renameio.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember that %s is trusted: %w", t.Path, err)
	}
	return nil
}

// agreed asks on the terminal; without one nobody is asked.
func agreed(ctx context.Context, s streams, question string) (yes, asked bool, err error) {
	f, ok := s.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, false, nil
	}
	fmt.Fprint(s.err, question+" [y/N] ")
	line, err := bufio.NewReader(io.LimitReader(ui.Interruptible(ctx, s.in), 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, true, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", true, nil
}

func listOf(commands []string) string {
	var b strings.Builder
	for _, c := range commands {
		b.WriteString("  " + strings.ReplaceAll(c, "\n", "\n    ") + "\n")
	}
	return b.String()
}
