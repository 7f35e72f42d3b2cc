package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/ui"
)

type typesOptions struct {
	schema exchange.Schema
	asJSON bool
	// name shows one type's fields; empty lists all types.
	name string
}

func newTypesCmd(s streams) *cobra.Command {
	var o typesOptions
	cmd := &cobra.Command{
		Use:     "types [TYPE]",
		Short:   "List the known message types, or the fields of one",
		Example: "  isukit types\n  isukit types Team\n  isukit types --proto ./proto",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.name = args[0]
			}
			return runTypes(cmd.Context(), o, s)
		},
	}
	schemaFlags(cmd, &o.schema)
	linesFlag(cmd.Flags(), &o.asJSON)
	return cmd
}

type typeInfo struct {
	Type   string      `json:"type"`
	File   string      `json:"file"`
	Fields []fieldInfo `json:"fields"`
}

type fieldInfo struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	Kind   string `json:"kind"`
}

func runTypes(ctx context.Context, o typesOptions, s streams) error {
	schema, err := o.schema.Schema(ctx)
	if err != nil {
		return err
	}
	for _, note := range schema.Notes {
		fmt.Fprintln(s.err, "isukit: note:", note)
	}
	types := schema.Types()
	if o.name != "" {
		md, err := schema.Find(o.name)
		if err != nil {
			return ui.UsageError(err, "isukit types lists them all")
		}
		types = []protoreflect.MessageDescriptor{md}
	}
	w := bufio.NewWriter(s.out)
	for _, md := range types {
		info := describeType(md)
		switch {
		case o.asJSON:
			if err := json.NewEncoder(w).Encode(info); err != nil {
				return err
			}
		case o.name == "":
			fmt.Fprintln(w, info.Type)
		default:
			fmt.Fprintf(w, "%s  (%s)\n", info.Type, info.File)
			for _, f := range info.Fields {
				fmt.Fprintf(w, "%5d  %-24s %s\n", f.Number, f.Name, f.Kind)
			}
		}
	}
	return w.Flush()
}

func describeType(md protoreflect.MessageDescriptor) typeInfo {
	info := typeInfo{Type: string(md.FullName()), File: md.ParentFile().Path(), Fields: []fieldInfo{}}
	fields := md.Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		info.Fields = append(info.Fields, fieldInfo{int(fd.Number()), string(fd.Name()), kindOf(fd)})
	}
	return info
}

// kindOf names a field's type as a .proto file does.
func kindOf(fd protoreflect.FieldDescriptor) string {
	name := fd.Kind().String()
	switch {
	case fd.IsMap():
		return fmt.Sprintf("map<%s, %s>", kindOf(fd.MapKey()), kindOf(fd.MapValue()))
	case fd.Message() != nil:
		name = string(fd.Message().FullName())
	case fd.Enum() != nil:
		name = string(fd.Enum().FullName())
	}
	if fd.IsList() {
		return "repeated " + name
	}
	return name
}
