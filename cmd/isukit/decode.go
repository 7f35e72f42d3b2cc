package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
	"isukit/proto/decode"
)

type decodeOptions struct {
	schema exchange.Schema
	// types is one name for all files, or one for each.
	types []string
	// route is "METHOD PATH": its response, or with ofRequest its request, names the type.
	route     string
	ofRequest bool
	input     string
	asJSON    bool
	raw       bool
	diff      bool
	files     []string
}

func newDecodeCmd(s streams) *cobra.Command {
	var o decodeOptions
	cmd := &cobra.Command{
		Use:   "decode [FILE...]",
		Short: "Show the message in a protobuf body",
		Long: `Show the message in a protobuf body: one per FILE, or one from standard input.

Name its type with --type (once for all files, or once per file), or name the request with --route. Without either, isukit lists the
types that fit. If only one fits exactly, isukit decodes the body with it.`,
		Example: `  isukit decode --type Team body.bin
  isukit decode --route 'GET /api/teams' < body.bin
  echo 0a020805 | isukit decode --in hex --type GetTeamResponse --json
  isukit decode --diff --type Job before.bin after.bin`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.files = args
			return runDecode(cmd.Context(), o, s)
		},
	}
	schemaFlags(cmd, &o.schema)
	routesFlag(cmd, &o.schema)
	cmd.Flags().StringArrayVar(&o.types, "type", nil, "message type, with or without its package; once, or once per file")
	cmd.Flags().StringVar(&o.route, "route", "", `"METHOD PATH" of the request, for example 'GET /api/teams'`)
	cmd.Flags().BoolVar(&o.ofRequest, "request", false, "with --route: the body is the request's, not the response's")
	cmd.Flags().StringVar(&o.input, "in", "raw", "encoding of the input: raw, hex, base64 or gzip")
	jsonFlag(cmd.Flags(), &o.asJSON)
	cmd.Flags().BoolVar(&o.raw, "raw", false, "show field numbers and wire types, without a schema")
	cmd.Flags().BoolVar(&o.diff, "diff", false, "compare two bodies field by field; exit code 3 when they differ")
	return cmd
}

func runDecode(ctx context.Context, o decodeOptions, s streams) error {
	if err := o.check(); err != nil {
		return err
	}
	if len(o.files) == 0 {
		o.files = []string{"-"}
	}
	schema, routes, err := o.schema.Load(ctx, s.err)
	if err != nil {
		return err
	}
	if err := o.typesFromRoute(routes); err != nil {
		return err
	}
	if len(o.types) < len(o.files) { // one for all of them, or none
		o.types = slices.Repeat(append(o.types, "")[:1], len(o.files))
	}
	bodies := make([][]byte, len(o.files))
	for i, name := range o.files {
		if bodies[i], err = o.read(ctx, name, s); err != nil {
			return err
		}
	}
	if o.diff {
		return diffBodies(o, schema, bodies, s)
	}
	var failed error
	for i, data := range bodies {
		if len(bodies) > 1 {
			fmt.Fprintf(s.err, "== %s\n", o.files[i])
		}
		if err := decodeOne(o, schema, o.types[i], data, s); err != nil {
			failed = err
		}
	}
	return failed
}

func (o *decodeOptions) check() error {
	switch {
	case o.diff && len(o.files) != 2:
		return ui.UsageError(fmt.Errorf("--diff compares 2 files, got %d", len(o.files)), "")
	case len(o.types) > 1 && len(o.types) != len(o.files):
		return ui.UsageError(fmt.Errorf("%d types for %d files", len(o.types), len(o.files)), "give --type once, or once for each file")
	case len(o.types) > 0 && o.route != "":
		return ui.UsageError(errors.New("use either --type or --route, not both"), "give one of them")
	case o.raw && (len(o.types) > 0 || o.diff):
		return ui.UsageError(errors.New("--raw uses no type"), "leave out --type and --diff")
	}
	return nil
}

func (o *decodeOptions) typesFromRoute(routes decode.Routes) error {
	if o.route == "" {
		return nil
	}
	method, path, ok := strings.Cut(o.route, " ")
	route, found := routes.Match(method, path)
	if !ok || !found {
		return ui.UsageError(fmt.Errorf("no route matches %q", o.route), "isukit routes lists them; the form is 'GET /api/teams'")
	}
	name := route.Response
	if o.ofRequest {
		name = route.Request
	}
	if name == "" {
		return ui.UsageError(fmt.Errorf("%s has no body there", o.route), "")
	}
	o.types = []string{name}
	return nil
}

// read gives the body's bytes, with what they were given in taken off.
func (o *decodeOptions) read(ctx context.Context, name string, s streams) ([]byte, error) {
	data, err := ui.ReadBounded(ctx, name, s.in)
	if errors.Is(err, fs.ErrNotExist) && (o.input == "hex" || o.input == "base64") {
		return nil, ui.UsageError(err, "text goes in through standard input: echo TEXT | isukit decode --in "+o.input)
	}
	if err != nil {
		return nil, err
	}
	switch o.input {
	case "raw":
		return data, nil
	case "hex", "base64":
		if len(bytes.TrimSpace(data)) == 0 {
			return nil, nil
		}
		from := decode.FromHex
		if o.input == "base64" {
			from = decode.FromBase64
		}
		if inner, ok := from(data); ok {
			return inner, nil
		}
		return nil, ui.UsageError(fmt.Errorf("%s is not %s text", name, o.input), "")
	case "gzip":
		inner, err := capture.Unpack("gzip", data, ui.MaxBodyFileBytes)
		if err != nil {
			return nil, ui.UsageError(fmt.Errorf("unpack %s: %w", name, err), "")
		}
		return inner, nil
	}
	return nil, ui.UsageError(fmt.Errorf("--in %q is unknown", o.input), "it is raw, hex, base64 or gzip")
}

// decodeOne shows one body on s.out, and its faults and hints on s.err.
func decodeOne(o decodeOptions, schema *decode.Schema, typ string, data []byte, s streams) error {
	if o.raw {
		return decodeRaw(data, s)
	}
	if typ == "" {
		var err error
		if typ, err = guessType(schema, data, s); err != nil {
			return err
		}
	}
	md, err := schema.Find(typ)
	if err != nil {
		return ui.UsageError(err, "isukit types lists the types that are known")
	}
	body := schema.Decode(md, data, decode.DefaultLimits())
	err = printBody(body, schema, o.asJSON, s)
	if err != nil && !errors.Is(err, errDamaged) {
		return err
	}
	explain(s.err, schema, data, body)
	if len(body.Faults) > 0 {
		return errDamaged
	}
	return err
}

func printBody(body *decode.Body, schema *decode.Schema, asJSON bool, s streams) error {
	if body.SizeBytes == 0 {
		fmt.Fprintln(s.err, "isukit: note: empty (0 bytes): a valid message with every field at its default")
	}
	if !asJSON {
		_, err := io.WriteString(s.out, decode.Text(body.Message))
		return err
	}
	data, faults := decode.JSON(body.Message, "  ", schema)
	if _, err := fmt.Fprintf(s.out, "%s\n", data); err != nil {
		return err
	}
	for _, f := range faults {
		fmt.Fprintf(s.err, "isukit: fault: %s\n", f)
	}
	if len(faults) > 0 {
		return errDamaged
	}
	return nil
}

// explain prints why a body was not decoded, what else it may be, and its bytes.
func explain(w io.Writer, schema *decode.Schema, data []byte, body *decode.Body) {
	for _, f := range body.Faults {
		fmt.Fprintf(w, "isukit: fault: %s\n", f)
	}
	for _, note := range body.Notes() {
		fmt.Fprintf(w, "isukit: note: %s\n", note)
	}
	if body.Fit.Suspicious() {
		fmt.Fprintf(w, "isukit: suspicious: the bytes hardly fit %s\n", body.Fit)
		for _, fit := range decode.Better(schema, data, body, decode.DefaultLimits()) {
			fmt.Fprintf(w, "isukit: better: %s\n", fit)
		}
	}
	if len(body.Faults) > 0 || body.Fit.Suspicious() {
		printHints(w, data)
	}
}

func printHints(w io.Writer, data []byte) {
	for _, hint := range decode.Hints(data) {
		fmt.Fprintf(w, "isukit: hint: %s\n", hint.Text)
	}
}

func decodeRaw(data []byte, s streams) error {
	raw := decode.Raw(data, decode.DefaultLimits())
	if len(data) == 0 {
		fmt.Fprintln(s.err, "isukit: note: empty (0 bytes): a valid message of any type")
	}
	if _, err := io.WriteString(s.out, raw.Text()); err != nil {
		return err
	}
	if len(raw.Faults) == 0 {
		return nil
	}
	for _, f := range raw.Faults {
		fmt.Fprintf(s.err, "isukit: fault: %s\n", f)
	}
	printHints(s.err, data)
	return errDamaged
}

// guessType names the type when one alone fits exactly; else it lists the candidates and fails.
func guessType(schema *decode.Schema, data []byte, s streams) (string, error) {
	if len(data) == 0 {
		return "", ui.UsageError(errors.New("empty (0 bytes): a valid message of every type"), "name one with --type")
	}
	fits := decode.Candidates(schema, data, decode.DefaultLimits())
	if len(fits) == 1 && fits[0].Exact() {
		fmt.Fprintf(s.err, "isukit: note: %s is the only type that fits\n", fits[0].Type)
		return string(fits[0].Type), nil
	}
	if len(fits) == 0 {
		printHints(s.err, data)
		return "", ui.UsageError(errors.New("no known type fits these bytes"), "--raw shows them without a type")
	}
	for i, fit := range fits {
		if i == 20 {
			fmt.Fprintf(s.err, "isukit: candidate: and %d more\n", len(fits)-i)
			break
		}
		fmt.Fprintf(s.err, "isukit: candidate: %s\n", fit)
	}
	return "", ui.UsageError(fmt.Errorf("%d types may fit these bytes", len(fits)), "name one with --type, or name the request with --route")
}

func diffBodies(o decodeOptions, schema *decode.Schema, data [][]byte, s streams) error {
	if o.types[0] == "" {
		return ui.UsageError(errors.New("--diff needs the type"), "name it with --type or --route")
	}
	var bodies [2]*decode.Body
	for i := range bodies {
		md, err := schema.Find(o.types[i])
		if err != nil {
			return ui.UsageError(err, "isukit types lists the types that are known")
		}
		bodies[i] = schema.Decode(md, data[i], decode.DefaultLimits())
		explain(s.err, schema, data[i], bodies[i])
	}
	if a, b := bodies[0].Message.Descriptor(), bodies[1].Message.Descriptor(); a != b {
		return ui.UsageError(fmt.Errorf("%s and %s are different types", a.FullName(), b.FullName()), "")
	}
	w := bufio.NewWriter(s.out)
	differences := decode.Diff(bodies[0].Message, bodies[1].Message)
	for _, d := range differences {
		if !o.asJSON {
			fmt.Fprintln(w, d)
			continue
		}
		if err := json.NewEncoder(w).Encode(d); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if n := len(differences); n > 0 {
		places := "places"
		if n == 1 {
			places = "place"
		}
		return ui.CheckFailed(fmt.Errorf("the bodies differ in %d %s", n, places), "")
	}
	if len(bodies[0].Faults)+len(bodies[1].Faults) > 0 {
		return errDamaged
	}
	return nil
}
