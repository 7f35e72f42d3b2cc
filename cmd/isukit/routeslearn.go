package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
	"isukit/proto/decode"
)

type routesLearnOptions struct {
	schema       exchange.Schema
	keylog, file string
	asJSON       bool
}

func newRoutesLearnCmd(s streams) *cobra.Command {
	var o routesLearnOptions
	cmd := &cobra.Command{
		Use:   "learn CAPTURE --proto DIR",
		Short: "Generate a routes file from a capture and its .proto files",
		Long: `Generate a file for --routes from a capture: the message types of each method and path.

A route's type is the one that fits all of its bodies. If several fit, isukit compares names of types and paths, pairs such as XRequest
and XResponse, and service definitions (google.api.http) in the .proto files. The comment before each line gives the evidence. Doubtful
lines are comments too, and list the other types that fit.`,
		Example: `  isukit routes learn contest.pcap --proto ./proto > routes.tsv
  isukit capture contest.pcap --proto ./proto --routes routes.tsv --bodies`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.file = args[0]
			return runRoutesLearn(cmd.Context(), o, s)
		},
	}
	schemaFlags(cmd, &o.schema)
	cmd.Flags().StringVar(&o.keylog, "keylog", "", "TLS key log (NSS format, for example from SSLKEYLOGFILE)")
	linesFlag(cmd.Flags(), &o.asJSON)
	return cmd
}

func runRoutesLearn(ctx context.Context, o routesLearnOptions, s streams) error {
	if o.schema.RoutesFile != "" {
		return ui.UsageError(errors.New("--routes names known routes"), "leave it out to learn them")
	}
	schema, _, err := o.schema.Load(ctx, s.err)
	if err != nil {
		return err
	}
	opts := capture.DefaultOptions()
	opts.OnNote = exchange.NewNotes(s.err).Add
	reader, file, err := exchange.Open(ctx, o.file, o.keylog, s.in, opts)
	if err != nil {
		return err
	}
	defer file.Close()
	decoder := &exchange.Decoder{Schema: schema, Learner: decode.NewLearner(schema)}
	e, failed := reader.Next(ctx)
	for ; failed == nil; e, failed = reader.Next(ctx) {
		decoder.Learn(e)
	}
	if errors.Is(failed, io.EOF) {
		failed = nil
	} else {
		failed = fmt.Errorf("%s: %w", o.file, failed) // what was read before is shown
	}
	learned := decoder.Learner.Routes()
	if len(learned) == 0 && failed == nil {
		return ui.UsageError(fmt.Errorf("%s has no exchange with a protobuf body", o.file), "isukit capture "+o.file+" shows its contents")
	}
	if o.asJSON {
		return cmp.Or(ui.PrintJSONLines(s.out, learned), failed)
	}
	return cmp.Or(printLearned(learned, s.out), failed)
}

// printLearned writes a routes file: what is sure as lines, what is doubtful as comments that a person decides on.
func printLearned(learned []decode.LearnedRoute, w io.Writer) error {
	for _, r := range learned {
		fmt.Fprintf(w, "# %s\n", decode.Terminal(evidence(r)))
		mark := ""
		if doubtful(r.Request) || doubtful(r.Response) {
			mark = "#? "
		}
		if _, err := fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\n", mark, decode.Terminal(r.Method), decode.Terminal(r.Path), ui.OrDash(r.Request.Type), ui.OrDash(r.Response.Type)); err != nil {
			return err
		}
	}
	return nil
}

func doubtful(g decode.Guess) bool { return g.Bodies > 0 && !g.Sure }

func evidence(r decode.LearnedRoute) string {
	var parts []string
	for i, g := range []decode.Guess{r.Request, r.Response} {
		name := []string{"request", "response"}[i]
		switch {
		case g.Bodies == 0:
		case g.Type == "":
			parts = append(parts, fmt.Sprintf("%s: no type fits %d bodies", name, g.Bodies))
		case !g.Sure && len(g.Others) > 0:
			parts = append(parts, name+": "+g.Evidence+"; also "+strings.Join(g.Others, ", "))
		default:
			parts = append(parts, name+": "+g.Evidence)
		}
	}
	return strings.Join(parts, "; ")
}
