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
	f.StringVar(&o.columns, "columns", "", "print these columns, for example count,sum,p50,p99.9,path (default: what fits)")
	f.StringVar(&o.sort, "sort", "sum", "order by this column: sum, count, mean, p99, max or any other")
	f.StringVar(&o.match, "match", "", "regular expression: only rows whose method and path, or query, it matches")
	f.StringVar(&o.output, "output", "table", "table, tsv, csv or markdown")
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
