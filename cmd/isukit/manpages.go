package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

type roff struct{ strings.Builder }

// text writes lines of text and escapes what roff would interpret.
func (r *roff) text(text string) {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n"); strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		r.WriteString(line + "\n")
	}
}

func (r *roff) section(name string) { r.WriteString(".SH " + name + "\n") }

// paragraphs writes text whose paragraphs are parted by empty lines; lines that are indented stay as they are.
func (r *roff) paragraphs(text string) {
	verbatim := false
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		indented := strings.HasPrefix(line, " ")
		switch {
		case indented && !verbatim:
			r.WriteString(".PP\n.nf\n")
		case !indented && verbatim:
			r.WriteString(".fi\n.PP\n")
		}
		verbatim = indented
		if strings.TrimSpace(line) == "" {
			r.WriteString(".PP\n")
			continue
		}
		r.text(line)
	}
	if verbatim {
		r.WriteString(".fi\n")
	}
}

func (r *roff) flag(f *pflag.Flag) {
	if f.Hidden {
		return
	}
	kind, usage := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	r.WriteString(".TP\n")
	r.text(strings.TrimSpace(name + " " + kind))
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
		usage += fmt.Sprintf(" (default %s)", f.DefValue)
	}
	r.text(usage)
}

func manPage(cmd *cobra.Command) string {
	cmd.InitDefaultHelpFlag()
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	r := &roff{}
	fmt.Fprintf(r, ".TH %s 1 \"\" \"isukit %s\" \"isukit\"\n", strings.ToUpper(strings.ReplaceAll(name, "-", `\-`)), release.Version)
	r.section("NAME")
	r.text(name + " - " + cmd.Short)
	r.section("SYNOPSIS")
	r.text(cmd.UseLine())
	r.section("DESCRIPTION")
	if cmd.Long != "" {
		r.paragraphs(cmd.Long)
	} else {
		r.text(cmd.Short + ".")
	}
	if cmd.HasSubCommands() {
		r.section("COMMANDS")
		for _, c := range cmd.Commands() {
			if c.Hidden || c.Name() == "help" {
				continue
			}
			r.WriteString(".TP\n")
			r.text(strings.ReplaceAll(c.CommandPath(), " ", "-") + "(1)")
			r.text(c.Short)
		}
	}
	r.section("OPTIONS")
	cmd.NonInheritedFlags().VisitAll(r.flag)
	cmd.InheritedFlags().VisitAll(r.flag)
	r.WriteString(".PP\n")
	r.text("Each can also be set in the environment: ISUKIT_STATE_DIR for --state-dir.")
	if cmd.Example != "" {
		r.section("EXAMPLES")
		r.paragraphs(cmd.Example)
	}
	r.section("EXIT STATUS")
	r.text("0 success; 1 isukit failed; 2 wrong command line or input file; 3 a round, a check or a comparison failed.")
	if cmd.HasParent() {
		r.section("SEE ALSO")
		r.text(strings.ReplaceAll(cmd.Parent().CommandPath(), " ", "-") + "(1)")
	}
	return r.String()
}
