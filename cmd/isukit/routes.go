package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/ui"
	"isukit/proto/decode"
)

type routesOptions struct {
	schema exchange.Schema
	asJSON bool
	// path keeps the routes that this path takes; empty keeps all.
	path string
}

func newRoutesCmd(s streams) *cobra.Command {
	var o routesOptions
	cmd := &cobra.Command{
		Use:     "routes [[METHOD] PATH]",
		Short:   "List the message types of each method and path",
		Example: "  isukit routes\n  isukit routes /api/teams/12\n  isukit routes PUT /api/teams/12",
		Args:    cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.path = strings.Join(args, " ")
			return runRoutes(cmd.Context(), o, s)
		},
	}
	schemaFlags(cmd, &o.schema)
	routesFlag(cmd, &o.schema)
	linesFlag(cmd.Flags(), &o.asJSON)
	cmd.AddCommand(newRoutesLearnCmd(s))
	return cmd
}

func runRoutes(ctx context.Context, o routesOptions, s streams) error {
	_, routes, err := o.schema.Load(ctx, s.err)
	if err != nil {
		return err
	}
	if len(routes) == 0 {
		return ui.UsageError(errors.New("no routes are known"), "generate them with isukit routes learn CAPTURE --proto DIR, or name a file with --routes FILE")
	}
	if o.path != "" {
		method, path, both := strings.Cut(o.path, " ")
		if !both {
			method, path = "", method
		}
		if routes = routes.Find(method, strings.TrimSpace(path)); len(routes) == 0 {
			return ui.UsageError(fmt.Errorf("no route matches %q", o.path), "isukit routes lists them all")
		}
	}
	return ui.PrintList(s.out, o.asJSON, routes, "", func(r decode.Route) string {
		return r.Method + "\t" + r.Path + "\t" + ui.OrDash(r.Request) + "\t" + ui.OrDash(r.Response)
	})
}
