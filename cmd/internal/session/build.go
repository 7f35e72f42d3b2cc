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
	tree, drop, err := CheckOut(ctx, "", commit, dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, drop()) }()
	binary = filepath.Join(filepath.Dir(tree), "isukit-app")
	// Without paths and stamps: commits with the same code build the same app.
	if _, err := output(ctx, tree, "go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "./cmd/isukit-app"); err != nil {
		return "", fmt.Errorf("build the app of commit %s: %w", commit, err)
	}
	return binary, nil
}

// CheckOut makes a work tree in dir of a commit of the checkout around from ("": the current directory), until drop is called.
func CheckOut(ctx context.Context, from, commit, dir string) (tree string, drop func() error, err error) {
	out, err := output(ctx, from, "git", "rev-parse", "--verify", "--end-of-options", commit+"^{commit}")
	if err != nil {
		return "", nil, ui.UsageError(fmt.Errorf("commit %q: %w", commit, err), "run it inside the checkout of the app")
	}
	hash := strings.TrimSpace(out)
	if dir, err = os.MkdirTemp(dir, "commit-"); err != nil {
		return "", nil, err
	}
	top, err := output(ctx, from, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return "", nil, err
	}
	top = strings.TrimSpace(top)
	// A hook of the checkout's owner has no business in a tree that is only built.
	tree = filepath.Join(dir, "tree")
	if _, err := output(ctx, top, "git", "-c", "core.hooksPath="+os.DevNull, "worktree", "add", "--quiet", "--detach", tree, hash); err != nil {
		return "", nil, fmt.Errorf("check out commit %s: %w", commit, err)
	}
	return tree, func() error {
		_, err := output(context.WithoutCancel(ctx), top, "git", "worktree", "remove", "--force", tree)
		return err
	}, nil
}

// ProjectAt makes a work tree of a commit of the checkout that a project's file is in, with that file as it is now, and returns its path
// there.
func ProjectAt(ctx context.Context, file, commit, dir string) (there string, drop func() error, err error) {
	folder := filepath.Dir(file)
	tree, drop, err := CheckOut(ctx, folder, commit, dir)
	if err != nil {
		return "", nil, err
	}
	below, err := output(ctx, folder, "git", "rev-parse", "--show-prefix")
	text, readErr := os.ReadFile(file)
	if err = errors.Join(err, readErr); err == nil {
		there = filepath.Join(tree, strings.TrimSpace(below), filepath.Base(file))
		err = errors.Join(os.MkdirAll(filepath.Dir(there), 0o755), os.WriteFile(there, text, 0o644))
	}
	if err != nil {
		return "", nil, errors.Join(err, drop())
	}
	return there, drop, nil
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
