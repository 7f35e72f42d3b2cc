package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/release"
	"isukit/cmd/internal/ui"
)

// newManCmd writes manual pages; it is hidden, as only packagers want it.
func newManCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIRECTORY",
		Short:   "Write a manual page of every command into a directory",
		Example: "  isukit man /usr/local/share/man/man1",
		Args:    cobra.ExactArgs(1),
		Hidden:  true,
		RunE:    func(cmd *cobra.Command, args []string) error { return writeManPages(cmd.Root(), args[0]) },
	}
}

func writeManPages(cmd *cobra.Command, dir string) error {
	if cmd.Hidden || cmd.Name() == "help" {
		return nil
	}
	file := filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1")
	if err := os.WriteFile(file, []byte(manPage(cmd)), 0o644); err != nil {
		return ui.UsageError(fmt.Errorf("write a manual page: %w", err), "name an existing directory that you can write to")
	}
	for _, c := range cmd.Commands() {
		if err := writeManPages(c, dir); err != nil {
			return err
		}
	}
	return nil
}

// roffEscapes are what roff would interpret.
var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n.", "\n\\&.", "\n'", "\n\\&'")

// manPage is the text of --help in sections, its lines as they are.
func manPage(cmd *cobra.Command) string {
	cmd.InitDefaultHelpFlag()
	nameOf := func(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"isukit %s\" \"isukit\"\n.nh\n", roffEscapes.Replace(strings.ToUpper(nameOf(cmd))), release.Version)
	section := func(name, text string) {
		if text = strings.Trim(text, "\n"); text != "" {
			fmt.Fprintf(&b, ".SH %s\n.nf%s\n.fi\n", name, roffEscapes.Replace("\n"+text))
		}
	}
	var subcommands string
	for _, c := range cmd.Commands() {
		if !c.Hidden && c.Name() != "help" {
			subcommands += fmt.Sprintf("%s(1)\n    %s\n", nameOf(c), c.Short)
		}
	}
	section("NAME", nameOf(cmd)+" - "+cmd.Short)
	section("SYNOPSIS", cmd.UseLine())
	section("DESCRIPTION", cmp.Or(cmd.Long, cmd.Short+"."))
	section("COMMANDS", subcommands)
	section("OPTIONS", cmd.NonInheritedFlags().FlagUsagesWrapped(78)+cmd.InheritedFlags().FlagUsagesWrapped(78)+
		"\nEach can also be set in the environment: ISUKIT_STATE_DIR for --state-dir.")
	section("EXAMPLES", cmd.Example)
	section("EXIT STATUS", "0 success; 1 isukit failed; 2 wrong command line or input file;\n3 a round, a check or a comparison failed.")
	if cmd.HasParent() {
		section("SEE ALSO", nameOf(cmd.Parent())+"(1)")
	}
	return b.String()
}
