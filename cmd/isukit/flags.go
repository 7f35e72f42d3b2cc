package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/round"
)

// Flags that several commands have. They are made here, so that a name means the same, with the same type and the same words,
// wherever it stands; TestOneManner holds what is made elsewhere to it.

// jsonFlag is for a command that prints one document; linesFlag for one that lists things.
func jsonFlag(f *pflag.FlagSet, v *bool) { f.BoolVar(v, "json", false, "print JSON") }

func linesFlag(f *pflag.FlagSet, v *bool) {
	f.BoolVar(v, "json", false, "print one JSON object per line")
}

func resultsFlag(f *pflag.FlagSet, v *string) {
	f.StringVar(v, "results", "results", "directory where rounds are saved")
}

func projectFlag(f *pflag.FlagSet, v *string) {
	f.StringVar(v, "project", "", "the project file (default isukit.yaml)")
	f.Bool("yes", false, "run the commands of a new or changed project file without asking")
}

func topologyFlag(f *pflag.FlagSet, v *string) {
	f.StringVarP(v, "topology", "t", "single", "a shipped topology's name, or a topology file")
}

func cpuScaleFlag(f *pflag.FlagSet, v *float64) {
	f.Float64Var(v, "cpu-scale", 0, "with --driver lab: multiply each host's CPUs by this factor (default: the largest that fits into 3/4 of this machine)")
}

func engineFlag(f *pflag.FlagSet, v *string) {
	f.StringVar(v, "engine", "auto", "database server: mariadb, mysql, or auto (the first one installed)")
}

func proxyFlag(f *pflag.FlagSet, v *string) {
	f.StringVar(v, "proxy", "", "proxy to use instead of the topology's: nginx or envoy")
}

func datasetFlags(f *pflag.FlagSet, scale *string, seed *uint64) {
	f.StringVar(scale, "scale", "standard", "size of the dataset: small or standard")
	f.Uint64Var(seed, "seed", 1, "seed of the dataset and of the users' behaviour")
}

func programFlags(f *pflag.FlagSet, localDir, app *string) {
	f.StringVar(localDir, "local-dir", "", `directory where make installed servers (default: .local in this directory or next to isukit)`)
	f.StringVar(app, "app", "", "the app's binary (default: isukit-app next to isukit)")
}

// patienceFlag is the one setting that makes a slow or busy machine pass where the usual limits are missed.
func patienceFlag(f *pflag.FlagSet, v *float64) {
	f.Float64Var(v, "patience", 1, "multiply the timeouts, for a slow machine: initialize (30s), start of a role (1m), response (10s)")
}

func acceptRiskFlag(f *pflag.FlagSet, v *[]string) {
	f.StringSliceVar(v, "accept-risk", nil, "names of tunings to apply although their risk is high")
}

func schemaFlags(cmd *cobra.Command, o *exchange.Schema) {
	cmd.Flags().StringArrayVar(&o.ProtoDirs, "proto", nil, "directory of .proto files (default: the portal's messages; repeatable)")
	cmd.Flags().StringArrayVar(&o.DescriptorSets, "descriptor-set", nil, "file with a FileDescriptorSet (repeatable)")
}

func routesFlag(cmd *cobra.Command, o *exchange.Schema) {
	cmd.Flags().StringVar(&o.RoutesFile, "routes", "", "TSV of method, path template, request, response (default with the portal's messages: its routes)")
}

func filterFlags(cmd *cobra.Command, f *exchange.Filter) {
	cmd.Flags().StringSliceVar(&f.Methods, "method", nil, "only these methods")
	cmd.Flags().StringSliceVar(&f.Paths, "path", nil, "only these paths: /api/teams/{id}, /api/* (query strings are ignored)")
	cmd.Flags().StringSliceVar(&f.Statuses, "status", nil, "only these statuses: 200, 4xx, 500-599")
	cmd.Flags().StringSliceVar(&f.Types, "only-type", nil, "only exchanges with a message of these types")
	cmd.Flags().StringArrayVar(&f.Fields, "where", nil, "only exchanges whose request or response has field=value, for example team.name=sushi")
	cmd.Flags().BoolVar(&f.Incomplete, "incomplete", false, "only incomplete or damaged exchanges")
}

// isQuiet is what --quiet says, which every command takes.
func isQuiet(cmd *cobra.Command) bool {
	quiet, err := cmd.Flags().GetBool("quiet")
	return err == nil && quiet
}

func upDriverFlag(f *pflag.FlagSet, driver *string) {
	f.StringVar(driver, "driver", "", round.DriverHelp+" (default: the driver with a running topology)")
}
