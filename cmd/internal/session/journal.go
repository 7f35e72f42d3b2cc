package session

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/host/proc"
	"isukit/input"
)

// Journal is an experiment on disk: its plan, and every round before it begins and after it has ended. An experiment is resumed by
// running it again from its beginning: rounds that the journal has are read from the results, and not played.
type Journal struct {
	Path    string
	Results string
	// Isukit is the program that plays rounds, Common are the arguments of every round, before its own.
	Isukit string
	Common []string
	Say    func(format string, args ...any)
	// Check, if set, says before the first round that this session plays why it would not be like those of earlier ones.
	Check func() error

	// Played are the rounds of every session so far.
	Played []Played

	file  *os.File
	lock  *os.File // the directory of the results: one experiment at a time
	past  []line   // rounds of earlier sessions that were not asked for yet
	spent time.Duration

	replayed bool // the last round was read
}

// Played is a round of an experiment: the part of it that asked for the round, and what the round gave; Failed is why it failed, "" where it passed.
type Played struct {
	Stage             string
	Args              []string
	ID, Failed        string
	Score, HitsPerSec float64
}

// line is one line of a journal: the plan, a round that begins, or the end of the round that began last.
type line struct {
	Kind string          `json:"kind,omitempty"`
	Plan json.RawMessage `json:"plan,omitempty"`

	Stage   string   `json:"stage,omitempty"`
	Args    []string `json:"args,omitempty"`
	Process *proc.ID `json:"process,omitempty"`

	Round   string  `json:"round,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
}

// maxJournal bounds a journal: some thousand rounds.
const maxJournal = 16 << 20

// journalLimits bound what decoding it takes.
var journalLimits = input.JSONLimits{Depth: 20, Objects: 200_000, Values: 2_000_000}

// NewJournal begins an experiment of that kind ("screen") with its plan.
func NewJournal(results, kind string, plan any) (*Journal, error) {
	text, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(results, 0o755); err != nil {
		return nil, fmt.Errorf("start a %s: %w", kind, err)
	}
	j := &Journal{Path: filepath.Join(results, kind+"-"+time.Now().UTC().Format("20060102T150405.000Z")+".jsonl"), Results: results}
	if err = j.alone(); err == nil {
		j.file, err = os.OpenFile(j.Path, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o644)
	}
	if err == nil {
		err = j.write(line{Kind: kind, Plan: text})
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// OpenJournal reads an experiment of that kind and its plan; path "" takes the newest in results. If a killed session has left a round, it
// waits for it: the round still cleans up.
func OpenJournal(ctx context.Context, path, results, kind string, plan any, say func(string, ...any)) (*Journal, error) {
	if path == "" {
		all, err := filepath.Glob(filepath.Join(results, kind+"-*.jsonl"))
		if err != nil || len(all) == 0 {
			return nil, ui.UsageError(errors.Join(fmt.Errorf("no %s found in %s", kind, results), err), "isukit "+kind+" --help shows how to start one")
		}
		path = all[len(all)-1] // sorted, and names begin with the time
	}
	j := &Journal{Path: path, Results: results, Say: say}
	var err error
	if j.file, err = os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0); err != nil {
		return nil, ui.UsageError(err, "isukit "+kind+" resume FILE")
	}
	if err = j.alone(); err == nil {
		err = j.read(ctx, kind, plan)
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// alone keeps a second experiment off, also another one: both would set tunings on the same servers.
func (j *Journal) alone() (err error) {
	dir := filepath.Dir(j.Path)
	if j.lock, err = os.Open(dir); err != nil {
		return err
	}
	if err = proc.Flock(j.lock, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return ui.Hinted(fmt.Errorf("another experiment that saves its rounds in %s is running", dir), "wait until it ends, or stop it with Ctrl-C")
	}
	return err
}

func (j *Journal) read(ctx context.Context, kind string, plan any) error {
	text, err := input.Read(j.Path, maxJournal)
	if err != nil {
		return err
	}
	if err := input.CheckJSON(text, journalLimits); err != nil {
		return fmt.Errorf("%s: %w", j.Path, err)
	}
	whole := text[:bytes.LastIndexByte(text, '\n')+1] // the last line may have been cut off by a crash
	if err := j.file.Truncate(int64(len(whole))); err != nil {
		return err
	}
	var begun *line
	n := 0
	for text := range bytes.Lines(whole) {
		n++
		var l line
		err := json.Unmarshal(text, &l)
		switch {
		case err != nil:
		case n == 1 && l.Kind != kind:
			return ui.UsageError(fmt.Errorf("%s is not a file of isukit %s", j.Path, kind), "name a file that this command wrote")
		case n == 1:
			err = json.Unmarshal(l.Plan, plan)
		case l.Stage != "":
			begun = &l
		case begun == nil:
			err = errors.New("a round ends that did not start")
		default:
			begun.Round, begun.Seconds = l.Round, l.Seconds
			j.past, begun = append(j.past, *begun), nil
		}
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", j.Path, n, err)
		}
	}
	if len(whole) == 0 {
		return ui.UsageError(fmt.Errorf("%s is empty", j.Path), "")
	}
	if begun == nil || begun.Process == nil {
		return nil
	}
	for told := false; begun.Process.Alive(); told = true {
		if !told {
			j.Say("waiting for process %d to clean up after its round", begun.Process.PID)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

// write returns when the line is on disk.
func (j *Journal) write(l line) error {
	text, err := json.Marshal(l)
	if err == nil {
		_, err = j.file.Write(append(text, '\n'))
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", j.Path, err)
	}
	return nil
}

// Close ends the session.
func (j *Journal) Close() (err error) {
	for _, f := range []*os.File{j.file, j.lock} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

func (j *Journal) Spent() time.Duration { return j.spent }

// Play plays the next round, or reads it if an earlier session has played it. A failed round is not an error.
func (j *Journal) Play(ctx context.Context, stage string, args []string) (*result.Round, error) {
	j.replayed = len(j.past) > 0
	play := j.playOne
	if j.replayed {
		play = j.replay
	} else if j.Check != nil {
		if err := j.Check(); err != nil {
			return nil, err
		}
	}
	r, err := play(ctx, stage, args)
	if err != nil && ctx.Err() == nil && !j.replayed {
		j.Say("the round could not be run and is run again: %v", err)
		r, err = j.playOne(ctx, stage, args)
	}
	if err != nil {
		return nil, err
	}
	p := Played{Stage: stage, Args: args, ID: r.ID, Score: float64(r.Score.Total), HitsPerSec: r.HitsPerSec()}
	if !r.Passed {
		p.Failed = cmp.Or(r.Reason, "failed")
	}
	j.Played = append(j.Played, p)
	return r, nil
}

func (j *Journal) playOne(ctx context.Context, stage string, args []string) (*result.Round, error) {
	began := time.Now()
	runner := Runner{Isukit: j.Isukit, Args: [2][]string{slices.Concat([]string{"round"}, j.Common, args)}, Started: func(pid int) error {
		l := line{Stage: stage, Args: args}
		if st, err := proc.Read(pid); err == nil {
			l.Process = &st.ID
		}
		return j.write(l)
	}}
	r, err := runner.Play(ctx, 0)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	j.spent += took
	return r, j.write(line{Round: r.ID, Seconds: took.Seconds()})
}

func (j *Journal) replay(_ context.Context, stage string, args []string) (*result.Round, error) {
	p := j.past[0]
	if p.Stage != stage || !slices.Equal(p.Args, args) {
		return nil, fmt.Errorf("another isukit wrote %s: its round %d is %s %q, but this one plans %s %q", j.Path, len(j.Played)+1, p.Stage, strings.Join(p.Args, " "),
			stage, strings.Join(args, " "))
	}
	j.past = j.past[1:]
	j.spent += time.Duration(p.Seconds * float64(time.Second))
	r, _, err := result.Get(j.Results, p.Round)
	if err != nil {
		return nil, ui.Hinted(fmt.Errorf("a round of %s is missing: %w", j.Path, err), "start from scratch")
	}
	return r, nil
}

// Replayed tells that the last round was played by an earlier session.
func (j *Journal) Replayed() bool { return j.replayed }
