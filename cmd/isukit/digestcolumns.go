package main

import (
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/ui"
)

// chosenRows are the flags of what is printed of a digest, and how.
type chosenRows struct{ columns, sort, match, output string }

func (o *chosenRows) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.columns, "columns", "", "columns to print, for example count,sum,p50,p99.9,path (default: those that fit)")
	f.StringVar(&o.sort, "sort", "sum", "column to sort by: sum, count, mean, p99, max or any other")
	f.StringVar(&o.match, "match", "", "only rows whose method and path, or query, match this regular expression")
	f.StringVar(&o.output, "output", "table", "format: table, tsv, csv or markdown")
}

// own tells whether rows are printed by their columns, and not as reports have them.
func (o *chosenRows) own() bool { return o.columns != "" || o.output != "table" }

// matcher is what --match wants.
func (o *chosenRows) matcher() (*regexp.Regexp, error) {
	expr, err := regexp.Compile(o.match)
	if err != nil {
		err = ui.UsageError(fmt.Errorf("--match: %w", err), "write a regular expression such as '^POST '")
	}
	return expr, err
}
