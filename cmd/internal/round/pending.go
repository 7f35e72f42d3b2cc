package round

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"isukit/infra"
	"isukit/infra/host/proc"
	"isukit/infra/project"
	"isukit/infra/subject"
	"isukit/input"
)

// pending is a round's note of its tunings until they are reverted. If it is killed, the next command reverts them. A round locks the file.
type pending struct {
	proc.ID
	// Driver, LocalDir and App are of servers of the portal; Project and Dir of those of a project.
	Driver   string           `json:"driver,omitempty"`
	LocalDir string           `json:"local_dir,omitempty"`
	App      string           `json:"app,omitempty"`
	Project  *project.Project `json:"project,omitempty"`
	Dir      string           `json:"dir,omitempty"`
	Tunings  []string         `json:"tunings"`

	lock *os.File
}

// keep writes the note. One round at a time may have tunings on the same hosts.
func (p *pending) keep(stateDir string, tunings []string) (err error) {
	if p.ID, err = proc.Self(); err != nil {
		return err
	}
	p.Tunings = tunings
	what := []any{p.Driver}
	if p.Project != nil {
		what = []any{p.Project.Name, p.Project.Driver, p.Project.Hosts}
	}
	key, err := json.Marshal(what)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(key)
	dir := filepath.Join(stateDir, "tuned")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if p.lock, err = proc.LockOfDead(filepath.Join(dir, hex.EncodeToString(sum[:8])+".json")); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errors.New("another round has applied tunings to these hosts; wait until it ends")
		}
		return err
	}
	if st, err := p.lock.Stat(); err != nil || st.Size() > 0 {
		return errors.Join(err, proc.Unlock(p.lock), errors.New("tunings of a killed round are still applied to these hosts: run isukit tune revert"))
	}
	return errors.Join(json.NewEncoder(p.lock).Encode(p), p.lock.Sync())
}

// drop removes the note: nothing is left to revert.
func (p *pending) drop() error {
	if p == nil || p.lock == nil {
		return nil
	}
	return errors.Join(os.Remove(p.lock.Name()), proc.Unlock(p.lock))
}

// TakeBackLeft reverts the tunings of rounds that were killed. The error names those that are still applied.
func TakeBackLeft(ctx context.Context, stateDir string, say func(string, ...any)) error {
	files, err := filepath.Glob(filepath.Join(stateDir, "tuned", "*.json"))
	errs := []error{err}
	for _, file := range files {
		lock, err := proc.LockOfDead(file)
		if err != nil {
			continue // its round runs
		}
		p := pending{lock: lock}
		text, err := input.Read(file, 4<<20)
		if err == nil && json.Unmarshal(text, &p) == nil { // one that was not written whole came before any change
			say("reverting the tunings of a killed round: %s", strings.Join(p.Tunings, ", "))
			err = p.takeBack(ctx, stateDir, say)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("tunings of a killed round are still applied: %w", errors.Join(err, proc.Unlock(lock))))
			continue
		}
		errs = append(errs, p.drop())
	}
	return errors.Join(errs...)
}

func (p *pending) takeBack(ctx context.Context, stateDir string, say func(string, ...any)) (err error) {
	t := &tunedRound{own: p.Tunings, say: say, warn: say}
	revert := func(sub *subject.Subject, err error) error {
		if t.sub = sub; err == nil {
			t.targets, t.close, err = sub.TuneTargets()
		}
		if err != nil {
			return err
		}
		return t.revert(ctx)
	}
	if p.Project == nil {
		err := WithUp(ctx, p.Driver, infra.Spec{StateDir: stateDir, LocalDir: p.LocalDir, AppBinary: p.App}, true, func(running *infra.Running, lacking error) error {
			return revert(running.Subject(), lacking)
		})
		if errors.Is(err, infra.ErrNothingUp) {
			return nil // the tuning ended with its server
		}
		return err
	}
	return WithProject(ctx, p.Project, p.Dir, stateDir, func(opened *Opened) error { return revert(opened.Subject(ctx, false)) })
}
