package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/cmd/internal/exchange"
)

// Flags that several commands have. They are made here, so that a name means the same, with the same type and the same words,
// wherever it stands; TestOneManner holds what is made elsewhere to it.

// jsonFlag is for a command that prints one document; linesFlag for one that lists things.
func jsonFlag(f *pflag.FlagSet, v *bool) { f.BoolVar(v, "json", false, "print JSON") }

func linesFlag(f *pflag.FlagSet, v *bool) {
	f.BoolVar(v, "json", false, "print one JSON object a line")
}

func resultsFlag(f *pflag.FlagSet, v *string) {
	f.StringVar(v, "results", "results", "directory of the rounds")
}

func projectFlag(f *pflag.FlagSet, v *string) {
	f.StringVar(v, "project", "", "the project file (default isukit.yaml)")
	f.Bool("yes", false, "run the commands of a project file that is new to this machine, or has changed, without asking")
}

func topologyFlag(f *pflag.FlagSet, v *string) {
	f.StringVarP(v, "topology", "t", "single", "a shipped topology's name, or a topology file")
}

func cpuScaleFlag(f *pflag.FlagSet, v *float64) {
	f.Float64Var(v, "cpu-scale", 0, "in the lab, give each host this part of the CPUs it declares (default: what fits into three quarters of the machine)")
}

func engineFlag(f *pflag.FlagSet, v *string) {
	f.StringVar(v, "engine", "auto", "database server: mariadb, mysql, or auto for what is there")
}

func proxyFlag(f *pflag.FlagSet, v *string) {
	f.StringVar(v, "proxy", "", "nginx or envoy, in place of what the topology says")
}

func datasetFlags(f *pflag.FlagSet, scale *string, seed *uint64) {
	f.StringVar(scale, "scale", "standard", "size of the dataset: small or standard")
	f.Uint64Var(seed, "seed", 1, "seed of the dataset and of what users plan")
}

func programFlags(f *pflag.FlagSet, localDir, app *string) {
	f.StringVar(localDir, "local-dir", "", `directory where make installed servers (default: .local here or beside isukit)`)
	f.StringVar(app, "app", "", "the app's binary (default: isukit-app beside isukit)")
}

// patienceFlag is the one setting that makes a slow or busy machine pass where the usual limits are missed.
func patienceFlag(f *pflag.FlagSet, v *float64) {
	f.Float64Var(v, "patience", 1, "multiply the limits that a slow machine misses: initialize (30s), the start of a role (1m), a response (10s)")
}

func acceptRiskFlag(f *pflag.FlagSet, v *[]string) {
	f.StringSliceVar(v, "accept-risk", nil, "names of tunings whose high risk you take")
}

// schemaFlags are for commands that read messages.
func schemaFlags(cmd *cobra.Command, o *exchange.Schema) {
	cmd.Flags().StringArrayVar(&o.ProtoDirs, "proto", nil, "directory of .proto files; any number (default: the portal's own messages)")
	cmd.Flags().StringArrayVar(&o.DescriptorSets, "descriptor-set", nil, "file with a FileDescriptorSet; any number")
}

// routesFlag is for commands that go by routes.
func routesFlag(cmd *cobra.Command, o *exchange.Schema) {
	cmd.Flags().StringVar(&o.RoutesFile, "routes", "", "TSV of method, path template, request, response (default with the portal's messages: its routes)")
}

// filterFlags are for commands that read captures.
func filterFlags(cmd *cobra.Command, f *exchange.Filter) {
	cmd.Flags().StringSliceVar(&f.Methods, "method", nil, "show these methods only")
	cmd.Flags().StringSliceVar(&f.Paths, "path", nil, "show these paths only: /api/teams/{id}, /api/* (the query is left aside)")
	cmd.Flags().StringSliceVar(&f.Statuses, "status", nil, "show these statuses only: 200, 4xx, 500-599")
	cmd.Flags().StringSliceVar(&f.Types, "only-type", nil, "show exchanges with a message of these types only")
	cmd.Flags().StringArrayVar(&f.Fields, "where", nil, "show exchanges whose request or response has field=value, as in team.name=sushi")
	cmd.Flags().BoolVar(&f.Incomplete, "incomplete", false, "show only what is incomplete or damaged")
}

// isQuiet is what --quiet says, which every command takes.
func isQuiet(cmd *cobra.Command) bool {
	quiet, err := cmd.Flags().GetBool("quiet")
	return err == nil && quiet
}
