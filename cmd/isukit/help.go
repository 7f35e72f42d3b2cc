package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
)

// helpGroups are the commands by what one wants to do, in the order in which one comes to need them.
var helpGroups = []struct {
	title    string
	commands []string
}{
	{"Measure and experiment", []string{"init", "next", "round", "compare", "observe", "final", "screen", "advise", "autotune"}},
	{"Place and tune", []string{"topology", "tune", "doctor", "replicas", "hosts", "lab"}},
	{"Look back", []string{"digest", "ls", "show", "diff", "latency", "hits", "serve", "note", "restore", "notify"}},
	{"Inspect traffic", []string{"capture", "decode", "send", "replay", "encode", "types", "routes"}},
}

// groupedHelp makes "isukit --help" one screen; the help of commands stays as it is.
func groupedHelp(root *cobra.Command) {
	ofCommand := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if cmd != root {
			ofCommand(cmd, args)
			return
		}
		printRootHelp(cmd.OutOrStdout(), root)
	})
}

func printRootHelp(w io.Writer, root *cobra.Command) {
	fmt.Fprintf(w, "%s\nUsage: isukit COMMAND [flags]     A first round: isukit round\n", root.Long)
	for _, g := range helpGroups {
		fmt.Fprintf(w, "%s:\n", g.title)
		for _, name := range g.commands {
			i := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == name })
			if i < 0 {
				continue
			}
			fmt.Fprintf(w, "  %-11s %s\n", name, root.Commands()[i].Short)
		}
	}
	fmt.Fprint(w, `Also: isukit version; isukit completion bash, zsh or fish. Of every command:
  -h, --help; -q, --quiet: only results and errors; --state-dir DIR: saved state
`)
}
