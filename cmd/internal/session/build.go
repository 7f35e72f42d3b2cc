package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"isukit/cmd/internal/ui"
)

// BuildApp builds the app as it was at a commit of the checkout in the current directory, and returns the binary, which
// lies in dir. The work tree that this takes lies in dir as well, and is gone again when buildApp returns.
func BuildApp(ctx context.Context, commit, dir string) (binary string, err error) {
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

// output runs a program and returns what it printed; what it complained about becomes part of the error.
func output(ctx context.Context, dir string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, said ui.Tail
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%s: %w: %s", argv[0], err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}
