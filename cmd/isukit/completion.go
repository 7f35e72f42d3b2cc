package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"isukit/bench/result"
	"isukit/infra"
	"isukit/infra/doctor"
	"isukit/infra/host/machine"
)

// candidates are what may stand at one place, as "VALUE" or "VALUE\tABOUT". They are asked for at each press of a key, so
// that nothing is started for them, and an error is no candidates.
type candidates func(cmd *cobra.Command, args []string) []string

// fixedValues are what flags of these names take, in every command.
var fixedValues = map[string][]string{
	"driver":   driverNames,
	"engine":   {"auto", "mariadb", "mysql"},
	"proxy":    {"nginx", "envoy"},
	"scale":    {"small", "standard"},
	"arrivals": {"even", "poisson"},
	"shape":    {"grow", "users=", "ramp=", "steps=", "rate=", "capacity"},
	"sort":     {"sum", "count", "p99", "max", "bytes"},
	"format":   {"json", "ltsv", "combined", "envoy"},
	"in":       {"raw", "hex", "base64", "gzip"},
	"out":      {"raw", "hex", "base64"},
	"mode":     modeNames(),
	"method":   {"GET", "POST", "PUT", "PATCH", "DELETE"},
	"metrics":  {"score", "hits", "p50", "p99", "cpu", "errors"},
}

// flagCandidates are for flags whose values have to be looked up.
var flagCandidates = map[string]candidates{
	"topology":    topologyNames,
	"tune":        tuningNames,
	"accept-risk": riskyTunings,
	"type":        messageTypes,
	"resp-type":   messageTypes,
	"only-type":   messageTypes,
	"host":        captureHosts,
	"only":        checkNames,
	"skip":        checkNames,
	"round":       roundNames,
}

// directoryFlags and their like take paths of one kind.
var (
	directoryFlags = []string{"results", "state-dir", "local-dir", "proto"}
	fileFlags      = map[string][]string{"project": {"yaml", "yml"}, "keylog": nil, "routes": {"tsv"}, "descriptor-set": nil}
)

// argument is what a command takes: where it is a name, those there are.
type argument struct {
	of    candidates
	most  int  // how many are taken; 0 is any number
	files bool // a file will do as well
}

var argumentsOf = map[string]argument{
	"isukit show":           {of: roundNames, most: 1},
	"isukit hits":           {of: roundNames, most: 1},
	"isukit notify":         {of: roundNames, most: 1},
	"isukit latency":        {of: roundNames},
	"isukit diff":           {of: roundNames, most: 2},
	"isukit doctor":         {of: roundNames, most: 1},
	"isukit compare":        {of: sideNames, most: 2},
	"isukit topology apply": {of: topologyNames, most: 1, files: true},
	"isukit topology show":  {of: topologyNames, most: 1, files: true},
	"isukit topology diff":  {of: topologyNames, most: 2, files: true},
	"isukit tune show":      {of: tuningNames, files: true},
	"isukit tune diff":      {of: tuningNames, files: true},
	"isukit tune apply":     {of: tuningNames, files: true},
	"isukit tune revert":    {of: tuningNames},
	"isukit types":          {of: messageTypes, most: 1},
	"isukit routes":         {of: routePaths, most: 1},
	"isukit send":           {of: routeNames, most: 1},
	"isukit lab shell":      {of: labHostNames, most: 1},
	"isukit lab run":        {of: labHostNames, most: 1},
	"isukit hosts init":     {of: sshHostNames},
	"isukit hosts ls":       {of: sshHostNames},
	"isukit hosts revert":   {of: sshHostNames},
	"isukit replicas eject": {of: replicaNames, most: 1},
	"isukit replicas admit": {of: replicaNames, most: 1},
}

// completeCommands tells shells what flags and arguments of every command take.
func completeCommands(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		completeFlags(c)
		if a, ok := argumentsOf[c.CommandPath()]; ok {
			c.ValidArgsFunction = a.complete
		} else if !strings.Contains(c.Use, " ") && !c.HasSubCommands() && c.ValidArgsFunction == nil {
			c.ValidArgsFunction = cobra.NoFileCompletions
		}
		completeCommands(c)
	}
}

func completeFlags(c *cobra.Command) {
	add := func(name string, fn cobra.CompletionFunc) {
		if c.Flags().Lookup(name) == nil && c.PersistentFlags().Lookup(name) == nil {
			return
		}
		if err := c.RegisterFlagCompletionFunc(name, fn); err != nil {
			panic(fmt.Sprintf("%s --%s: %v", c.CommandPath(), name, err)) // registered twice
		}
	}
	for name, values := range fixedValues {
		add(name, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
			if name == "shape" || name == "metrics" { // more may follow
				directive |= cobra.ShellCompDirectiveNoSpace
			}
			return inList(values, typed), directive
		})
	}
	for name, of := range flagCandidates {
		add(name, func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			directive := cobra.ShellCompDirectiveNoFileComp
			if name == "topology" {
				directive = cobra.ShellCompDirectiveDefault
			}
			return inList(of(cmd, args), typed), directive
		})
	}
	if c.Name() == "decode" {
		add("route", func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return routeNames(cmd, args), cobra.ShellCompDirectiveNoFileComp
		})
	}
	for _, name := range directoryFlags {
		add(name, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		})
	}
	for name, endings := range fileFlags {
		add(name, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			if len(endings) == 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return endings, cobra.ShellCompDirectiveFilterFileExt
		})
	}
}

// inList puts what of a list has been typed before each value, as in "score,p9".
func inList(values []string, typed string) []string {
	done := typed[:strings.LastIndexByte(typed, ',')+1]
	if done == "" {
		return values
	}
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = done + v
	}
	return list
}

func (a argument) complete(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if a.most > 0 && len(args) >= a.most {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if a.files {
		directive = cobra.ShellCompDirectiveDefault
	}
	return a.of(cmd, args), directive
}

func topologyNames(*cobra.Command, []string) []string {
	var list []string
	for _, name := range infra.ShippedNames() {
		about, _ := aboutShipped(name)
		list = append(list, name+"\t"+about)
	}
	return list
}

func tuningNames(*cobra.Command, []string) []string {
	catalog, _, err := loadTunings(nil)
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
	catalog, _, err := loadTunings(nil)
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

// checkNames are the checks of the doctor.
func checkNames(*cobra.Command, []string) []string {
	var list []string
	for _, c := range doctor.Checks() {
		list = append(list, c.ID+"\t"+c.About)
	}
	return list
}

// roundNames are the kept rounds, newest first.
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
	list := []string{"last\tthe newest round", "last-1\tthe one before it"}
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

// sideNames are what isukit compare may compare.
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
	schema, err := schemaOf(cmd).schema(context.Background())
	if err != nil {
		return nil
	}
	var list []string
	for _, md := range schema.Types() {
		list = append(list, string(md.Name())+"\t"+string(md.FullName()))
	}
	return list
}

func schemaOf(cmd *cobra.Command) *schemaOptions {
	var o schemaOptions
	o.protoDirs, _ = cmd.Flags().GetStringArray("proto")
	o.descriptorSets, _ = cmd.Flags().GetStringArray("descriptor-set")
	o.routesFile, _ = cmd.Flags().GetString("routes")
	return &o
}

func routeNames(cmd *cobra.Command, _ []string) []string {
	o := schemaOf(cmd)
	schema, err := o.schema(context.Background())
	if err != nil {
		return nil
	}
	routes, err := o.routes(schema, streams{err: io.Discard})
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

// labHostNames are the hosts that are up in the lab, and the two names beside them.
func labHostNames(cmd *cobra.Command, _ []string) []string {
	list := []string{"switch\twhat joins the hosts", "generator\twhere the load comes from"}
	dir, err := stateDir(cmd)
	if err != nil {
		return list
	}
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

// captureHosts are those of the lab and those that ssh has names for.
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
	text, err := readRegular(file, 1<<20)
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

// replicaNames are those that --replica has named.
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
