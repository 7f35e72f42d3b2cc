package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/ui"
	"isukit/proto/decode"
)

type encodeOptions struct {
	schema exchange.Schema
	typ    string
	output string
	body   bodyOptions
}

// bodyOptions are the sources of a message: a file (or "-") in text or JSON format, or field=value arguments.
type bodyOptions struct {
	file   string
	fields []string
}

func newEncodeCmd(s streams) *cobra.Command {
	var o encodeOptions
	cmd := &cobra.Command{
		Use:   "encode --type TYPE [FIELD=VALUE...]",
		Short: "Build a protobuf body from text, JSON or field=value",
		Long: `Build a protobuf body and write it to standard output.

The message is given as field=value arguments (team.tags=go for nested fields, repeated for lists, labels[k]=v for
maps), or with --file as a file in text or JSON format; "-" is standard input.`,
		Example: `  isukit encode --type CreateTeamRequest name=sushi tags=go tags=mysql > body.bin
  echo '{"name": "sushi"}' | isukit encode --type CreateTeamRequest --file - --out hex`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.body.fields = args
			return runEncode(cmd.Context(), o, s)
		},
	}
	schemaFlags(cmd, &o.schema)
	cmd.Flags().StringVar(&o.typ, "type", "", "message type, with or without its package")
	cmd.Flags().StringVar(&o.body.file, "file", "", "file with the message in text or JSON format; - is standard input")
	cmd.Flags().StringVar(&o.output, "out", "raw", "encoding of the output: raw, hex or base64")
	return cmd
}

func runEncode(ctx context.Context, o encodeOptions, s streams) error {
	if o.typ == "" {
		return ui.UsageError(errors.New("the type is missing"), "name it with --type; isukit types lists them")
	}
	schema, _, err := o.schema.Load(ctx, s.err)
	if err != nil {
		return err
	}
	md, err := schema.Find(o.typ)
	if err != nil {
		return ui.UsageError(err, "isukit types lists the types that are known")
	}
	m, err := o.body.message(ctx, md, schema, s)
	if err != nil {
		return err
	}
	data, err := decode.Wire(m)
	if err != nil {
		return err
	}
	switch o.output {
	case "raw":
		_, err = ui.Bytes(s.out).Write(data)
	case "hex":
		_, err = fmt.Fprintln(s.out, hex.EncodeToString(data))
	case "base64":
		_, err = fmt.Fprintln(s.out, base64.StdEncoding.EncodeToString(data))
	default:
		return ui.UsageError(fmt.Errorf("--out %q is unknown", o.output), "it is raw, hex or base64")
	}
	return err
}

// message builds the message that the options describe; none of them gives an empty one.
func (o *bodyOptions) message(ctx context.Context, md protoreflect.MessageDescriptor, schema *decode.Schema, s streams) (protoreflect.Message, error) {
	if o.file != "" && len(o.fields) > 0 {
		return nil, ui.UsageError(errors.New("both --file and field=value are given"), "give one of them")
	}
	if o.file == "" {
		m, err := decode.EncodeFields(md, o.fields, schema)
		if err != nil {
			return nil, ui.UsageError(err, fmt.Sprintf("isukit types %s shows its fields", md.FullName()))
		}
		return m, nil
	}
	text, err := ui.ReadBounded(ctx, o.file, s.in)
	if err != nil {
		return nil, err
	}
	m, err := decode.Encode(md, text, schema)
	if err != nil {
		return nil, ui.UsageError(fmt.Errorf("%s: %w", o.file, err), fmt.Sprintf("isukit types %s shows its fields", md.FullName()))
	}
	return m, nil
}
