package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"isukit/cmd/internal/ui"
	"isukit/proto"
	"isukit/proto/decode"
	portalv1 "isukit/proto/portal/v1"
)

// schemaOptions say where message types and routes come from.
type schemaOptions struct {
	protoDirs      []string
	descriptorSets []string
	routesFile     string
}

func (o *schemaOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&o.protoDirs, "proto", nil, "directory of .proto files; any number (default: the portal's own messages)")
	cmd.Flags().StringArrayVar(&o.descriptorSets, "descriptor-set", nil, "file with a FileDescriptorSet; any number")
	cmd.Flags().StringVar(&o.routesFile, "routes", "", "TSV of method, path template, request, response (default with the portal's messages: its routes)")
}

// load makes the schema and the routes. What was odd about them goes to s.err.
func (o *schemaOptions) load(ctx context.Context, s streams) (*decode.Schema, decode.Routes, error) {
	schema, err := o.schema(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, note := range schema.Notes {
		fmt.Fprintln(s.err, "isukit: note:", note)
	}
	routes, err := o.routes(schema, s)
	return schema, routes, err
}

func (o *schemaOptions) schema(ctx context.Context) (*decode.Schema, error) {
	if len(o.protoDirs) == 0 && len(o.descriptorSets) == 0 {
		return portalSchema()
	}
	var schemas []*decode.Schema
	if len(o.protoDirs) > 0 {
		schema, err := decode.Compile(ctx, o.protoDirs...)
		if err != nil {
			return nil, ui.UsageError(err, "--proto wants the directory from which the imports' paths start")
		}
		schemas = append(schemas, schema)
	}
	for _, name := range o.descriptorSets {
		data, err := ui.ReadBounded(name, nil)
		if err != nil {
			return nil, err
		}
		schema, err := decode.ParseDescriptorSet(data)
		if err != nil {
			return nil, ui.UsageError(fmt.Errorf("%s: %w", name, err), "make it with: protoc --include_imports --descriptor_set_out=FILE")
		}
		schemas = append(schemas, schema)
	}
	return decode.Merge(schemas...), nil
}

// routes reads the routes and says which of their types the schema does not have.
func (o *schemaOptions) routes(schema *decode.Schema, s streams) (decode.Routes, error) {
	if o.routesFile == "" {
		if len(o.protoDirs) == 0 && len(o.descriptorSets) == 0 {
			return portalRoutes(), nil
		}
		return nil, nil
	}
	f, err := os.Open(o.routesFile)
	if err != nil {
		return nil, ui.UsageError(err, "")
	}
	defer f.Close()
	routes, err := decode.ParseRoutes(f)
	if err != nil {
		return nil, ui.UsageError(fmt.Errorf("routes %s: %w", o.routesFile, err), "each line: method, path, request, response, separated by tabs")
	}
	for _, r := range routes {
		for _, name := range []string{r.Request, r.Response} {
			if name == "" {
				continue
			}
			if _, err := schema.Find(name); err != nil {
				fmt.Fprintf(s.err, "isukit: note: route %s %s: %s\n", r.Method, r.Path, err)
			}
		}
	}
	return routes, nil
}

// portalSchema is the portal's messages, from the generated code.
func portalSchema() (*decode.Schema, error) {
	var files []protoreflect.FileDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage(portalv1.File_portal_v1_account_proto.Package(), func(f protoreflect.FileDescriptor) bool {
		files = append(files, f)
		return true
	})
	return decode.NewSchema(files...)
}

func portalRoutes() decode.Routes {
	var routes decode.Routes
	for _, r := range proto.Routes() {
		routes = append(routes, decode.Route{Method: r.Method, Path: r.Path, Request: string(r.Request), Response: string(r.Response)})
	}
	return routes
}
