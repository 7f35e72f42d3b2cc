package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"isukit/proto/decode"
)

type routesOptions struct {
	schema schemaOptions
	asJSON bool
	// path keeps the routes that this path takes; empty keeps all.
	path string
}

func newRoutesCmd(s streams) *cobra.Command {
	var o routesOptions
	cmd := &cobra.Command{
		Use:     "routes [PATH]",
		Short:   "List which messages each method and path carries",
		Example: "  isukit routes\n  isukit routes /api/teams/12",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.path = args[0]
			}
			return runRoutes(cmd.Context(), o, s)
		},
	}
	o.schema.addFlags(cmd)
	linesFlag(cmd.Flags(), &o.asJSON)
	return cmd
}

type routeInfo struct {
	Method   string `json:"method"`
	Path     string `json:"path"`
	Request  string `json:"request,omitempty"`
	Response string `json:"response,omitempty"`
}

func runRoutes(ctx context.Context, o routesOptions, s streams) error {
	_, routes, err := o.schema.load(ctx, s)
	if err != nil {
		return err
	}
	if o.path != "" {
		routes = routes.Find(o.path)
	}
	if len(routes) == 0 {
		return usageError(fmt.Errorf("no route"), "give --routes FILE beside --proto, or another path")
	}
	if o.asJSON {
		return routesJSON(routes, s)
	}
	w := newTable(s.out)
	for _, r := range routes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Method, r.Path, orDash(r.Request), orDash(r.Response))
	}
	return w.Flush()
}

func routesJSON(routes decode.Routes, s streams) error {
	encoder := json.NewEncoder(s.out)
	for _, r := range routes {
		if err := encoder.Encode(routeInfo(r)); err != nil {
			return err
		}
	}
	return nil
}
