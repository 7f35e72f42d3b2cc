package main

import (
	"context"
	"errors"
	"fmt"

	"isukit/app/fanout"
	"isukit/bench"
	"isukit/infra"
	"isukit/infra/topology"
)

// withReplicas returns the scenario, with a check that compares the databases where the topology has several.
func withReplicas(s bench.Scenario, running *infra.Running, top *topology.Topology) bench.Scenario {
	if len(top.Of(topology.DB)) < 2 {
		return s
	}
	return withReplicaCheck{s, running, top}
}

// withReplicaCheck adds to a scenario's check that the databases hold the same rows: random reads hide for a while that
// they do not.
type withReplicaCheck struct {
	bench.Scenario
	running *infra.Running
	top     *topology.Topology
}

// Check implements bench.Scenario.
func (c withReplicaCheck) Check(ctx context.Context) ([]string, error) {
	faults, err := c.Scenario.Check(ctx)
	if err != nil {
		return faults, err
	}
	different, err := c.compare(ctx)
	return append(faults, different...), err
}

// maxDifferences is how many rows of a table a fault names.
const maxDifferences = 5

// compare returns a fault for every table whose rows differ, and for every database that is out of service.
func (c withReplicaCheck) compare(ctx context.Context) (faults []string, err error) {
	dsns := c.running.DSNs()
	cfg := fanout.Config{Mode: fanout.Mode(c.top.Data.Write), Observer: true}
	var all []string
	for _, i := range c.top.Of(topology.DB) {
		cfg.Replicas = append(cfg.Replicas, fanout.Replica{Name: i.Name, DSN: dsns[i.Name]})
		all = append(all, i.Name)
	}
	pool, err := fanout.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("compare the databases: %w", err)
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	status, err := pool.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("compare the databases: %w", err)
	}
	for _, r := range status.Replicas {
		if r.State != fanout.InService {
			faults = append(faults, fmt.Sprintf("database %s is out of service: %s", r.Name, r.Reason))
		}
	}
	report, err := pool.Check(ctx, fanout.CheckOptions{Replicas: all})
	if err != nil {
		return faults, fmt.Errorf("compare the databases: %w", err)
	}
	for _, t := range report.Tables {
		if t.Differing > 0 {
			faults = append(faults, differenceText(t))
		}
	}
	return faults, nil
}

// differenceText says how a table differs, naming some of its rows.
func differenceText(t fanout.TableCheck) string {
	text := fmt.Sprintf("databases differ in %d row(s) of table %s", t.Differing, t.Table)
	for n, d := range t.Differences {
		if n == maxDifferences {
			return text + ", ..."
		}
		text += fmt.Sprintf(", %s %v", d.Key, d.Rows)
	}
	return text
}
