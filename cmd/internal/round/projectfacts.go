package round

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"isukit/bench/result"
	"isukit/infra/host"
	"isukit/infra/project"
	"isukit/infra/redact"
)

const maxDiff = 1 << 20

func (r *ProjectRound) gitFacts(ctx context.Context) {
	git := func(args ...string) (string, error) {
		res, err := r.Reach.Here.Run(ctx, host.Command{Argv: append([]string{"git", "--no-optional-locks"}, args...), Dir: r.Reach.Dir})
		if err == nil && res.Code != 0 {
			err = errors.New(strings.TrimSpace(string(res.Stderr)))
		}
		return string(res.Stdout), err
	}
	head, err := git("log", "-1", "--format=%H %s%n%an")
	if err != nil {
		r.warn("cannot read the commit: %v", err)
		return
	}
	head, author, _ := strings.Cut(strings.TrimSpace(head), "\n")
	r.Record.Facts = append(r.Record.Facts, result.Fact{Key: "commit", Value: r.mask(head)}, result.Fact{Key: "author", Value: r.mask(author)})
	status, err := git("status", "--porcelain")
	if err != nil || strings.TrimSpace(status) == "" {
		return
	}
	files := strings.Count(status, "\n")
	r.Record.Facts = append(r.Record.Facts, result.Fact{Key: "uncommitted", Value: fmt.Sprintf("%d files, see dirty.diff", files)})
	diff, err := git("diff", "HEAD")
	if err != nil {
		r.warn("cannot read the uncommitted changes: %v", err)
		return
	}
	r.dirty = []byte(r.mask(status + "\n" + diff[:min(len(diff), maxDiff)]))
}

func (r *ProjectRound) factCommand(ctx context.Context, at host.Host, f project.FactCommand) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	res, err := at.Run(ctx, host.Command{Argv: []string{"sh", "-c", f.Run}})
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("exit status %d", res.Code)
	}
	if err != nil {
		r.warn("fact %s: %v", f.Key, err)
		return
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(res.Stdout)), "\n")
	r.Record.Facts = append(r.Record.Facts, result.Fact{Key: f.Key, Value: redact.Value(f.Key, r.mask(cutText(first, 300)))})
}

// PlaceFacts say what ran where, as far as the project tells.
func PlaceFacts(p *project.Project) []result.Fact {
	var facts []result.Fact
	if p.Topology != "" {
		facts = append(facts, result.Fact{Key: "topology", Value: p.Topology})
	}
	var hosts []string
	for _, h := range p.Hosts {
		if len(h.Roles) > 0 {
			h.Name += " (" + strings.Join(h.Roles, ", ") + ")"
		}
		hosts = append(hosts, h.Name)
	}
	return append(facts, result.Fact{Key: "hosts", Value: strings.Join(hosts, ", ")})
}
