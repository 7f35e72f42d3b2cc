package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/ui"
)

// finishCommands gives all commands what they share: errors about arguments print the usage, and a group refuses an unknown command.
func finishCommands(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		c.GroupID = "" // helpGroups has them
		if c.HasSubCommands() && !c.Runnable() {
			finishGroup(c)
		} else if check := c.Args; check != nil {
			c.Args = func(cmd *cobra.Command, args []string) error {
				if err := check(cmd, args); err != nil {
					if strings.HasPrefix(err.Error(), "unknown command") { // as cobra says it of an argument where none is taken
						err = fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
					} else if m := wrongCount.FindStringSubmatch(err.Error()); m != nil {
						err = fmt.Errorf("%s takes %s, got %s", cmd.CommandPath(), m[1]+m[2]+pluralArguments(m[2]), m[3])
					}
					return ui.UsageError(err, ui.HintOf(err, fmt.Sprintf("usage: %s; for details: %s", cmd.UseLine(), cmd.CommandPath()+" --help")))
				}
				return nil
			}
		}
		finishCommands(c)
	}
}

// wrongCount is what cobra says of too few or too many arguments.
var wrongCount = regexp.MustCompile(`^(?:accepts |requires )(at least |at most |)(\d+) arg\(s\), (?:only )?received (\d+)$`)

func pluralArguments(count string) string {
	if count == "1" {
		return " argument"
	}
	return " arguments"
}

func finishGroup(c *cobra.Command) {
	c.Args = cobra.ArbitraryArgs
	c.FParseErrWhitelist.UnknownFlags = true // they are those of the command that is not known
	c.DisableFlagsInUseLine = true
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
}

// unknownCommand says that cmd has no command of that name, and what may have been meant.
func unknownCommand(cmd *cobra.Command, name string) error {
	hint := fmt.Sprintf("see %q", cmd.CommandPath()+" --help")
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		for i := range near {
			near[i] = cmd.CommandPath() + " " + near[i]
		}
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return ui.UsageError(fmt.Errorf("unknown command %q", cmd.CommandPath()+" "+name), hint)
}
