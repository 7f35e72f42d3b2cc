package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isukit"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/host/machine"
	"isukit/infra/project"
)

func newInitCmd(s streams) *cobra.Command {
	var print, force, portal bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Generate an isukit.yaml from what runs on this host",
		Long: `Generate an isukit.yaml in the current directory from nginx's configuration, running units, listening ports, databases and languages
of this host. Settings that were not detected, or that you must decide, are in it as comments.

With --portal the file describes the reference app instead: use it to practise what your own app will need.`,
		Example: "  isukit init\n  isukit init --print\n  isukit init --portal",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := stateDir(cmd)
			return runInit(cmd.Context(), dir, print, force, portal, isQuiet(cmd), s)
		},
	}
	cmd.Flags().BoolVar(&print, "print", false, "print the file instead of writing it")
	cmd.Flags().BoolVar(&portal, "portal", false, "describe the reference app instead of what runs here")
	cmd.Flags().BoolVar(&force, "force", false, "replace an existing isukit.yaml")
	return cmd
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

func runInit(ctx context.Context, stateDir string, print, force, portal, quiet bool, s streams) (err error) {
	if _, err := os.Stat(project.FileName); err == nil && !print && !force {
		return ui.UsageError(errors.New("this directory already has an isukit.yaml"), "replace it with --force, or print the new one with --print")
	}
	text, next := "", "review it and set the benchmark's command"
	if portal {
		shipped, err := isukit.Assets.ReadFile("scripts/portal.yaml")
		if err != nil {
			return err
		}
		text, next = string(shipped), "isukit round plays its benchmark"
	} else if text, err = drafted(ctx, stateDir); err != nil {
		return err
	}
	if _, err := project.Parse([]byte(text)); err != nil {
		return fmt.Errorf("the draft is not a valid project file: %w", err)
	}
	if print {
		_, err := fmt.Fprint(s.out, text)
		return err
	}
	if err := os.WriteFile(project.FileName, []byte(text), 0o644); err != nil {
		return err
	}
	if p, dir, err := round.FindProject(""); err == nil && p != nil {
		if err := trustedOf(p, filepath.Join(dir, project.FileName)).keep(stateDir); err != nil {
			return err
		}
	}
	if quiet {
		return nil
	}
	fmt.Fprintf(s.err, "isukit: wrote %s; %s\n", project.FileName, next)
	d := round.Day{Now: time.Now()}
	if d.Project, _, err = round.FindProject(""); err != nil {
		return err
	}
	return printSteps(s.err, d)
}

func drafted(ctx context.Context, stateDir string) (text string, err error) {
	here, err := machine.OpenHere(stateDir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, here.Close(context.WithoutCancel(ctx))) }()
	found, err := project.Probe(ctx, here)
	if err != nil {
		return "", err
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	name := strings.Trim(notInNames.ReplaceAllString(filepath.Base(dir), "-"), "-_")
	return found.Draft(cmp.Or(name, "app")), nil
}
