// Command gen compiles proto/portal/v1/*.proto in process and runs the pinned protoc-gen-go on them, so that generating needs no protoc.
// Run it through `make generate`; it writes to the directory of the .proto files.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	if err := run(context.Background(), "."); err != nil {
		fmt.Fprintln(os.Stderr, "gen: error:", err)
		os.Exit(1)
	}
}

// run compiles every .proto below root/portal and writes the generated Go below root.
func run(ctx context.Context, root string) error {
	request, err := compile(ctx, root)
	if err != nil {
		return err
	}
	response, err := runPlugin(ctx, request)
	if err != nil {
		return err
	}
	for _, f := range response.File {
		path := filepath.Join(root, strings.TrimPrefix(f.GetName(), "isukit/proto/"))
		if err := os.WriteFile(path, []byte(f.GetContent()), 0o644); err != nil {
			return fmt.Errorf("write generated code: %w", err)
		}
	}
	return nil
}

func compile(ctx context.Context, root string) (*pluginpb.CodeGeneratorRequest, error) {
	names, err := fs.Glob(os.DirFS(root), "portal/v1/*.proto")
	if err != nil {
		return nil, err
	}
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{ImportPaths: []string{root}},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", root, err)
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names}
	done := map[string]bool{}
	var add func(*descriptorpb.FileDescriptorProto)
	byName := map[string]*descriptorpb.FileDescriptorProto{}
	for _, f := range files {
		byName[f.Path()] = protodesc.ToFileDescriptorProto(f)
	}
	// The plugin wants every import before the file that names it.
	add = func(f *descriptorpb.FileDescriptorProto) {
		if f == nil || done[f.GetName()] {
			return
		}
		done[f.GetName()] = true
		for _, dep := range f.Dependency {
			add(byName[dep])
		}
		request.ProtoFile = append(request.ProtoFile, f)
	}
	for _, n := range names {
		add(byName[n])
	}
	return request, nil
}

func runPlugin(ctx context.Context, request *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode the plugin's request: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "tool", "protoc-gen-go")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run protoc-gen-go: %w", err)
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return nil, fmt.Errorf("decode the plugin's response: %w", err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("protoc-gen-go: %s", response.GetError())
	}
	return &response, nil
}
