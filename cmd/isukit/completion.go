package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/round"
)

// candidates are the possible values of an argument: "VALUE" or "VALUE\tABOUT". The shell calls them at each press of a key: they must
// start nothing, and return none after an error.
type candidates func(cmd *cobra.Command, args []string) []string

// fixedValues are what flags of these names take, in every command.
var fixedValues = map[string][]string{
	"driver":   round.DriverNames,
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
	"mix":      round.MixNames(),
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
	"isukit show":            {of: roundNames, most: 1},
	"isukit hits":            {of: roundNames, most: 1},
	"isukit notify":          {of: roundNames, most: 1},
	"isukit latency":         {of: roundNames},
	"isukit diff":            {of: roundNames, most: 2},
	"isukit doctor":          {of: roundNames, most: 1},
	"isukit compare":         {of: sideNames, most: 2},
	"isukit topology apply":  {of: topologyNames, most: 1, files: true},
	"isukit topology show":   {of: topologyNames, most: 1, files: true},
	"isukit topology diff":   {of: topologyNames, most: 2, files: true},
	"isukit advise":          {of: roundNames, most: 1},
	"isukit screen":          {of: tuningNames, most: 1, files: true},
	"isukit autotune":        {of: tuningNames, most: 1, files: true},
	"isukit autotune resume": {of: journalNames, most: 1},
	"isukit screen resume":   {of: journalNames, most: 1},
	"isukit tune show":       {of: tuningNames, files: true},
	"isukit tune diff":       {of: tuningNames, files: true},
	"isukit tune apply":      {of: tuningNames, files: true},
	"isukit tune revert":     {of: tuningNames},
	"isukit types":           {of: messageTypes, most: 1},
	"isukit routes":          {of: routePaths, most: 1},
	"isukit send":            {of: routeNames, most: 1},
	"isukit lab shell":       {of: labHostNames, most: 1},
	"isukit lab fault":       {of: labHostNames, most: 1},
	"isukit lab run":         {of: labHostNames, most: 1},
	"isukit hosts init":      {of: sshHostNames},
	"isukit hosts ls":        {of: sshHostNames},
	"isukit hosts revert":    {of: sshHostNames},
	"isukit replicas eject":  {of: replicaNames, most: 1},
	"isukit replicas admit":  {of: replicaNames, most: 1},
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

// inList prefixes each value with the part of the list that is already typed, for example "score," of "score,p9".
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

func (a argument) complete(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if a.most > 0 && len(args) >= a.most {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if a.files {
		directive = cobra.ShellCompDirectiveDefault
	}
	return inList(a.of(cmd, args), typed), directive
}
