package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/ui"
)

// runnableSide is a side whose rounds are yet to be run.
type runnableSide struct {
	name string
	// args are those of `isukit round` that make the side what it is.
	args []string
	// commit is the revision whose app is built first; "" for none.
	commit string
	// command is what is run instead of a round of isukit; "" for none.
	command string
}

// isRunnable reports whether a side can only mean rounds that are yet to be run; "topology=" may mean both.
func isRunnable(query string) bool {
	for _, kind := range []string{"commit=", "round=", "tune=", "command="} {
		if strings.HasPrefix(query, kind) {
			return true
		}
	}
	return false
}

// parseRunnable reads a side for which rounds are to be run.
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
	case ok && kind == "round":
		side.args, err = splitArgs(value)
	case ok && kind == "tune" && value == "none":
	case ok && kind == "tune" && value != "":
		side.args = []string{"--tune", value}
	default:
		err = errors.New("it names kept rounds; to run new ones a side is topology=NAME, tune=NAMES, commit=REV, round=ARGUMENTS or command=COMMAND")
	}
	if err != nil {
		return side, fmt.Errorf("side %q: %w", query, err)
	}
	return side, nil
}

// splitArgs splits at blanks; what stands between quotes of either kind is one piece.
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
		return nil, fmt.Errorf("a quote %c has no end", quote)
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
		return fmt.Errorf("%q is no option of isukit round", rest[0])
	}
	if err := flagsFromEnv(cmd.Flags()); err != nil {
		return err
	}
	if o.explain {
		return errors.New("--explain-score runs no round")
	}
	_, err := o.spec()
	return err
}

// buildApp builds the app as it was at a commit of the checkout in the current directory, and returns the binary, which
// lies in dir. The work tree that this takes lies in dir as well, and is gone again when buildApp returns.
func buildApp(ctx context.Context, commit, dir string) (binary string, err error) {
	out, err := output(ctx, "", "git", "rev-parse", "--verify", "--end-of-options", commit+"^{commit}")
	if err != nil {
		return "", ui.UsageError(fmt.Errorf("commit %q: %w", commit, err), "run it inside the checkout whose commits are compared")
	}
	hash := strings.TrimSpace(out)
	if dir, err = os.MkdirTemp(dir, "commit-"); err != nil {
		return "", err
	}
	top, err := output(ctx, "", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return "", err
	}
	top = strings.TrimSpace(top)
	// A hook of the checkout's owner has no business in a tree that is only built.
	tree := filepath.Join(dir, "tree")
	if _, err := output(ctx, top, "git", "-c", "core.hooksPath="+os.DevNull, "worktree", "add", "--quiet", "--detach", tree, hash); err != nil {
		return "", fmt.Errorf("check commit %s out: %w", commit, err)
	}
	defer func() {
		_, gone := output(context.WithoutCancel(ctx), top, "git", "worktree", "remove", "--force", tree)
		err = errors.Join(err, gone)
	}()
	binary = filepath.Join(dir, "isukit-app")
	// With the flags of make build, whose compiled dependencies then serve here, too.
	if _, err := output(ctx, tree, "go", "build", "-o", binary, "./cmd/isukit-app"); err != nil {
		return "", fmt.Errorf("build the app of commit %s: %w", commit, err)
	}
	return binary, nil
}

// maxSaid bounds what is kept of a program's complaints.
const maxSaid = 64 << 10

// output runs a program and returns what it printed; what it complained about becomes part of the error.
func output(ctx context.Context, dir string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, said tail
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%s: %w: %s", argv[0], err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// tail keeps the last maxSaid bytes that are written to it.
type tail struct{ text []byte }

var _ io.Writer = (*tail)(nil)

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if n := len(t.text); n > 2*maxSaid {
		t.text = append(t.text[:0], t.text[n-maxSaid:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.text[max(0, len(t.text)-maxSaid):]) }
