package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"isukit/bench/result"
	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/round"
	"isukit/infra"
	"isukit/infra/doctor"
	"isukit/infra/host/machine"
	"isukit/input"
)

func topologyNames(*cobra.Command, []string) []string {
	var list []string
	own, _ := round.PortalTopologies()
	for _, top := range own {
		list = append(list, top.Name+"\tof isukit.yaml")
	}
	for _, name := range infra.ShippedNames() {
		about, _ := aboutShipped(name)
		list = append(list, name+"\t"+about)
	}
	return list
}

func tuningNames(*cobra.Command, []string) []string {
	catalog, _, err := round.LoadTunings(nil)
	if err != nil {
		return nil
	}
	var list []string
	for _, t := range catalog.Tunings {
		list = append(list, t.Name+"\t"+t.About)
	}
	for _, g := range catalog.Groups {
		list = append(list, g.Name+"\t"+g.About)
	}
	return list
}

func riskyTunings(*cobra.Command, []string) []string {
	catalog, _, err := round.LoadTunings(nil)
	if err != nil {
		return nil
	}
	var list []string
	for _, t := range catalog.Tunings {
		if len(t.Risks()) > 0 {
			list = append(list, t.Name+"\t"+t.About)
		}
	}
	return list
}

func checkNames(*cobra.Command, []string) []string {
	var list []string
	for _, c := range doctor.Checks() {
		list = append(list, c.ID+"\t"+c.About)
	}
	return list
}

func roundNames(cmd *cobra.Command, _ []string) []string {
	_ = flagsFromEnv(cmd.Flags())
	dir, err := cmd.Flags().GetString("results")
	if err != nil {
		return nil
	}
	entries, err := result.List(dir)
	if err != nil || len(entries) == 0 {
		return nil
	}
	list := []string{"last\tnewest round", "last-1\tthe one before it"}
	for _, e := range entries {
		about := "cannot be read"
		if e.Err == nil && e.Round.Passed {
			about = fmt.Sprintf("score %d", e.Round.Score.Total)
		} else if e.Err == nil {
			about = "failed"
		}
		list = append(list, e.ID+"\t"+about)
	}
	return list
}

// journalNames are the experiments of the command's kind, newest first.
func journalNames(cmd *cobra.Command, _ []string) []string {
	_ = flagsFromEnv(cmd.Flags())
	dir, err := cmd.Flags().GetString("results")
	if err != nil {
		return nil
	}
	list, _ := filepath.Glob(filepath.Join(dir, cmd.Parent().Name()+"-*.jsonl")) // the pattern is a good one
	slices.Reverse(list)
	return list
}

func sideNames(cmd *cobra.Command, args []string) []string {
	list := []string{"tune=none\tno tuning"}
	for _, name := range topologyNames(cmd, args) {
		list = append(list, "topology="+name)
	}
	for _, name := range tuningNames(cmd, args) {
		list = append(list, "tune="+name)
	}
	return append(list, roundNames(cmd, args)...)
}

// messageTypes are the types of the schema that the command line names so far.
func messageTypes(cmd *cobra.Command, _ []string) []string {
	schema, err := schemaOf(cmd).Schema(context.Background())
	if err != nil {
		return nil
	}
	var list []string
	for _, md := range schema.Types() {
		list = append(list, string(md.Name())+"\t"+string(md.FullName()))
	}
	return list
}

func schemaOf(cmd *cobra.Command) *exchange.Schema {
	var o exchange.Schema
	o.ProtoDirs, _ = cmd.Flags().GetStringArray("proto")
	o.DescriptorSets, _ = cmd.Flags().GetStringArray("descriptor-set")
	o.RoutesFile, _ = cmd.Flags().GetString("routes")
	return &o
}

func routeNames(cmd *cobra.Command, _ []string) []string {
	o := schemaOf(cmd)
	schema, err := o.Schema(context.Background())
	if err != nil {
		return nil
	}
	routes, err := o.Routes(schema, io.Discard)
	if err != nil {
		return nil
	}
	var list []string
	for _, r := range routes {
		list = append(list, r.Method+" "+r.Path+"\t"+r.Request)
	}
	return list
}

func routePaths(cmd *cobra.Command, args []string) []string {
	var list []string
	for _, r := range routeNames(cmd, args) {
		_, path, _ := strings.Cut(r, " ")
		list = append(list, path)
	}
	return list
}

// labHostNames are the hosts in the lab, "switch" and "generator".
func labHostNames(cmd *cobra.Command, _ []string) []string {
	list := []string{"switch\tvirtual switch between the hosts", "generator\tload generator"}
	dir := stateDir(cmd)
	if _, err := os.Stat(dir); err != nil {
		return list
	}
	lab, err := machine.OpenLab(machine.Options{StateDir: dir, Keep: true})
	if err != nil {
		return list
	}
	defer lab.Close(context.Background())
	wants, err := lab.Hosts(context.Background())
	if err != nil {
		return list
	}
	var up []string
	for _, w := range wants {
		up = append(up, w.Name+"\t"+w.Address)
	}
	return append(up, list...)
}

func captureHosts(cmd *cobra.Command, args []string) []string {
	return append(labHostNames(cmd, args), sshHostNames(cmd, args)...)
}

// sshHostNames are the hosts of ssh's configuration file, without patterns.
func sshHostNames(cmd *cobra.Command, _ []string) []string {
	file, err := cmd.Flags().GetString("ssh-config")
	if err != nil || file == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil
		}
		file = filepath.Join(home, ".ssh", "config")
	}
	text, err := input.Read(file, 1<<20)
	if err != nil {
		return nil
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || !strings.EqualFold(words[0], "Host") {
			continue
		}
		for _, name := range words[1:] {
			if !strings.ContainsAny(name, "*?!") {
				list = append(list, name+"\t"+file)
			}
		}
	}
	return list
}

func replicaNames(cmd *cobra.Command, _ []string) []string {
	given, err := cmd.Flags().GetStringArray("replica")
	if err != nil {
		return nil
	}
	var list []string
	for _, r := range given {
		name, _, _ := strings.Cut(r, "=")
		list = append(list, name)
	}
	return list
}
