package main

import (
	"errors"
	"fmt"
	"strings"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/session"

	"github.com/spf13/cobra"
)

type runnableSide struct {
	name string
	// args are those of `isukit round` that make the side what it is.
	args []string
	// commit is the revision whose app is built first; "" for none.
	commit string
	// run is a command that makes the side what it is, before each of its rounds; "" for none.
	run string
	// command is what is run instead of a round of isukit; "" for none.
	command string
}

// isRunnable reports whether a side can only mean rounds that are yet to be run; "topology=" may mean both.
func isRunnable(query string) bool {
	for _, kind := range []string{"commit=", "round=", "run=", "tune=", "command="} {
		if strings.HasPrefix(query, kind) {
			return true
		}
	}
	return false
}

func askedOf(query string) session.Asked {
	kind, value, _ := strings.Cut(query, "=")
	if kind == "tune" && value == "none" {
		value = ""
	}
	return session.Asked{Kind: kind, Value: strings.TrimSpace(value)}
}

func parseRunnable(query string) (runnableSide, error) {
	kind, value, ok := strings.Cut(query, "=")
	side := runnableSide{name: query}
	var err error
	switch {
	case ok && kind == "topology" && value != "":
		side.args = []string{"--topology", value}
	case ok && kind == "commit" && value != "":
		side.commit = value
	case ok && kind == "command" && strings.TrimSpace(value) != "":
		side.command = value
	case ok && kind == "run" && strings.TrimSpace(value) != "":
		side.run = value
	case ok && kind == "round":
		side.args, err = splitArgs(value)
	case ok && kind == "tune" && value == "none":
	case ok && kind == "tune" && value != "":
		side.args = []string{"--tune", value}
	default:
		err = errors.New("it names saved rounds; to run new ones, use topology=NAME, tune=NAMES, commit=REV, run=COMMAND, round=ARGUMENTS or command=COMMAND")
	}
	if err != nil {
		return side, fmt.Errorf("side %q: %w", query, err)
	}
	return side, nil
}

// splitArgs splits at blanks; text between quotes of either kind is one argument.
func splitArgs(text string) ([]string, error) {
	var args []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	for _, r := range text {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, inWord = r, true
		case quote == 0 && (r == ' ' || r == '\t' || r == '\n'):
			if inWord {
				args = append(args, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("quote %c is not closed", quote)
	}
	if inWord {
		args = append(args, word.String())
	}
	return args, nil
}

// checkRoundArgs tells before anything runs what `isukit round` would refuse.
func checkRoundArgs(args []string) error {
	var o roundOptions
	cmd := &cobra.Command{Use: "round"}
	o.addFlags(cmd.Flags())
	if err := cmd.ParseFlags(args); err != nil {
		return err
	}
	if rest := cmd.Flags().Args(); len(rest) > 0 {
		return fmt.Errorf("%q is not an option of isukit round", rest[0])
	}
	if err := flagsFromEnv(cmd.Flags()); err != nil {
		return err
	}
	if o.explain {
		return errors.New("--explain-score runs no round")
	}
	if err := refuseFlags(cmd, nil); err != nil {
		return err
	}
	kind, err := subjectOfRound(cmd, nil)
	if err != nil {
		return err
	}
	if kind == aProject {
		_, err := round.FindTunings(o.Tune, o.AcceptRisk)
		return err
	}
	_, err = o.Spec()
	return err
}
