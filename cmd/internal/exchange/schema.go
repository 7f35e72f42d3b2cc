package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"isukit/cmd/internal/ui"
	"isukit/input"
	"isukit/proto"
	"isukit/proto/decode"
	portalv1 "isukit/proto/portal/v1"
)

// Schema is the sources of message types and routes.
type Schema struct {
	ProtoDirs      []string
	DescriptorSets []string
	RoutesFile     string
}

// Load makes the schema and the routes. What was odd about them goes to w.
func (o *Schema) Load(ctx context.Context, w io.Writer) (*decode.Schema, decode.Routes, error) {
	schema, err := o.Schema(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, note := range schema.Notes {
		fmt.Fprintln(w, "isukit: note:", note)
	}
	routes, err := o.Routes(schema, w)
	return schema, routes, err
}

// Builtin: the portal's messages are used, because no others were given.
func (o *Schema) Builtin() bool { return len(o.ProtoDirs) == 0 && len(o.DescriptorSets) == 0 }

// Decoder makes a decoder of what is given; without routes it learns them. What was odd goes to w.
func (o *Schema) Decoder(ctx context.Context, w io.Writer) (*Decoder, error) {
	schema, routes, err := o.Load(ctx, w)
	if err != nil {
		return nil, err
	}
	d := &Decoder{Schema: schema, Routes: routes, Builtin: o.Builtin()}
	if !d.Builtin && o.RoutesFile == "" {
		d.Learner = decode.NewLearner(schema)
	}
	return d, nil
}

func (o *Schema) Schema(ctx context.Context) (*decode.Schema, error) {
	if o.Builtin() {
		return PortalSchema()
	}
	var schemas []*decode.Schema
	if len(o.ProtoDirs) > 0 {
		schema, err := decode.Compile(ctx, o.ProtoDirs...)
		switch {
		case errors.Is(err, decode.ErrTooMuch):
			return nil, ui.UsageError(err, "name a directory further down with --proto")
		case err != nil:
			return nil, ui.UsageError(err, "--proto needs the root directory of the import paths")
		}
		schemas = append(schemas, schema)
	}
	for _, name := range o.DescriptorSets {
		data, err := input.Read(name, ui.MaxBodyFileBytes)
		if err != nil {
			return nil, ui.UsageError(err, "")
		}
		schema, err := decode.ParseDescriptorSet(data)
		if err != nil {
			return nil, ui.UsageError(fmt.Errorf("%s: %w", name, err), "make it with: protoc --include_imports --descriptor_set_out=FILE")
		}
		schemas = append(schemas, schema)
	}
	return decode.Merge(schemas...), nil
}

// Routes reads the routes and reports types that the schema lacks.
func (o *Schema) Routes(schema *decode.Schema, w io.Writer) (decode.Routes, error) {
	if o.RoutesFile == "" {
		if o.Builtin() {
			return proto.Portal(), nil
		}
		return nil, nil
	}
	f, err := input.Open(o.RoutesFile)
	if err != nil {
		return nil, ui.UsageError(err, "")
	}
	defer f.Close()
	routes, err := proto.ParseRoutes(f)
	if err != nil {
		return nil, ui.UsageError(fmt.Errorf("routes %s: %w", o.RoutesFile, err), "each line: method, path, request, response, separated by tabs")
	}
	for _, r := range routes {
		for _, name := range []string{r.Request, r.Response} {
			if name == "" {
				continue
			}
			if _, err := schema.Find(name); err != nil {
				fmt.Fprintf(w, "isukit: note: route %s %s: %s\n", r.Method, r.Path, err)
			}
		}
	}
	return routes, nil
}

// PortalSchema is the portal's messages, from the generated code.
func PortalSchema() (*decode.Schema, error) {
	var files []protoreflect.FileDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage(portalv1.File_portal_v1_account_proto.Package(), func(f protoreflect.FileDescriptor) bool {
		files = append(files, f)
		return true
	})
	return decode.NewSchema(files...)
}
