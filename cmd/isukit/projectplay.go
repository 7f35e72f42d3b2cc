package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/project"
	"isukit/infra/tune"
)

type projectRoundOptions struct {
	results, stateDir     string
	asJSON, quiet, notify bool
	final                 bool // it is one of several that confirm
	tune                  []tune.Tuning
	place                 string // a topology of the project that is applied before
}

func runProjectRound(ctx context.Context, p *project.Project, dir string, o projectRoundOptions, s streams) error {
	_, err := playProjectRound(ctx, p, dir, o, s, func(ctx context.Context, r *round.ProjectRound) error {
		r.Tune, r.Place = o.tune, o.place
		return r.Play(ctx)
	})
	return err
}

func playProjectRound(ctx context.Context, p *project.Project, dir string, o projectRoundOptions, s streams, play func(context.Context, *round.ProjectRound) error) (record *result.Round, err error) {
	if err := round.CheckResults(o.results); err != nil {
		return nil, err
	}
	opened, err := round.OpenProject(ctx, p, dir, o.stateDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, opened.Close(context.WithoutCancel(ctx))) }()
	r := round.NewProjectRound(opened, ui.SayTo(s.err, o.quiet))
	r.Live = round.NewLiveFeed(o.results, p.Name)
	defer r.Live.Close()
	playErr := play(ctx, r)
	if !r.Finished {
		return nil, playErr
	}
	path, writeErr := r.Write(o.results)
	writeErr = errors.Join(playErr, writeErr)
	if path == "" {
		return r.Record, errors.Join(writeErr, printRound(r.Record, "", o.asJSON, s))
	}
	if err := errors.Join(printRound(r.Record, path, o.asJSON, s), writeErr); err != nil {
		return r.Record, err
	}
	if url := os.Getenv(p.Notify.WebhookEnv); o.notify && p.Notify.WebhookEnv != "" && url != "" {
		if err := round.PostSummary(context.WithoutCancel(ctx), url, o.results, os.Getenv("ISUKIT_LINK"), r.Record); err != nil {
			fmt.Fprintf(s.err, "isukit: warning: could not post to the webhook: %v\n", err)
		}
	}
	if d, _ := newDay(contestEnd, o.results); !o.final && !o.quiet && !o.asJSON {
		d.Project = p
		_ = d.Look(ctx, opened, o.results) // a host that is unreachable is a warning of the round
		if len(d.Rounds) > 0 {
			sayNext(s, false, d.After())
		}
	}
	if !r.Record.Passed {
		return r.Record, ui.ErrRoundFailed
	}
	return r.Record, nil
}
