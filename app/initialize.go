package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"isukit/app/dataset"
	portalv1 "isukit/proto/portal/v1"
)

const (
	initializeTimeout = 28 * time.Second
	// copiers is how many tables are copied at once: a small server has few cores.
	copiers = 2
)

// initialize resets all data. Every table is copied anew from the seed tables beside the one in use, then all are
// swapped by one RENAME, so that a request that comes meanwhile sees either the old data or the new, and one that fails
// half way leaves the old. It goes on when its client gives up, since nobody could tell what a half-done one left.
func (p *portal) initialize(ctx context.Context, _ *call, _ *portalv1.InitializeRequest) (*portalv1.InitializeResponse, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), initializeTimeout)
	defer cancel()
	p.initializing.Lock()
	defer p.initializing.Unlock()
	if err := p.copyTables(ctx); err != nil {
		return nil, err
	}
	if err := p.swapTables(ctx); err != nil {
		return nil, err
	}
	return &portalv1.InitializeResponse{Language: "go", ApiUrl: p.APIURL}, nil
}

// copyTables fills <table>_new for every table. They are made like the tables in use, so that an index that was added
// to one of those stays.
func (p *portal) copyTables(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(copiers)
	for _, t := range dataset.Tables() {
		group.Go(func() error {
			if err := p.copyTable(ctx, t); err != nil {
				return fmt.Errorf("initialize %s: %w", t.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (p *portal) copyTable(ctx context.Context, t dataset.Table) error {
	columns := strings.Join(t.Columns, ", ")
	for _, statement := range []string{
		"DROP TABLE IF EXISTS " + t.Name + "_new",
		"CREATE TABLE " + t.Name + "_new LIKE " + t.Name,
		"INSERT INTO " + t.Name + "_new (" + columns + ") SELECT " + columns + " FROM " + dataset.SeedDatabase + "." + t.Name,
	} {
		if _, err := p.Store.DB().ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	if t.Name != "contest" {
		return nil
	}
	now := p.Now()
	_, err := p.Store.DB().ExecContext(ctx, "INSERT INTO contest_new (id, starts_at_us, freezes_at_us, ends_at_us) VALUES (1, ?, ?, ?)",
		now.Add(-time.Hour).UnixMicro(), now.Add(7*time.Hour).UnixMicro(), now.Add(8*time.Hour).UnixMicro())
	return err
}

// swapTables puts every <table>_new in its place.
func (p *portal) swapTables(ctx context.Context) error {
	var renames, olds []string
	for _, t := range dataset.Tables() {
		renames = append(renames, t.Name+" TO "+t.Name+"_old", t.Name+"_new TO "+t.Name)
		olds = append(olds, t.Name+"_old")
	}
	for _, statement := range []string{
		"DROP TABLE IF EXISTS " + strings.Join(olds, ", "),
		"RENAME TABLE " + strings.Join(renames, ", "),
		"DROP TABLE " + strings.Join(olds, ", "),
	} {
		if _, err := p.Store.DB().ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("swap tables: %w", err)
		}
	}
	return nil
}
