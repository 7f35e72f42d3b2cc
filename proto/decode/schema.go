package decode

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Schema is a set of message types. It is safe for concurrent use once made.
type Schema struct {
	// Notes are what was found odd but usable while the schema was made, one sentence each: an import root that was wrong
	// by a level, for instance.
	Notes []string

	files *protoregistry.Files
	types map[protoreflect.FullName]protoreflect.MessageDescriptor
	// order holds the keys of types, sorted.
	order []protoreflect.FullName
}

// UnknownTypeError says that a schema has no type of a name, and which names come near.
type UnknownTypeError struct {
	Name string
	// Near are full names that end as Name does or contain it, at most five.
	Near []string
}

func (e *UnknownTypeError) Error() string {
	if len(e.Near) == 0 {
		return fmt.Sprintf("type %s is not in the schema", e.Name)
	}
	return fmt.Sprintf("type %s is not in the schema; near it: %s", e.Name, strings.Join(e.Near, ", "))
}

// NewSchema makes a schema of files and of what they import.
func NewSchema(files ...protoreflect.FileDescriptor) (*Schema, error) {
	s := &Schema{files: new(protoregistry.Files), types: map[protoreflect.FullName]protoreflect.MessageDescriptor{}}
	for _, fd := range files {
		if err := s.add(fd); err != nil {
			return nil, fmt.Errorf("add %s to the schema: %w", fd.Path(), err)
		}
	}
	for name := range s.types {
		s.order = append(s.order, name)
	}
	slices.Sort(s.order)
	return s, nil
}

// ParseDescriptorSet makes a schema of a serialized FileDescriptorSet, as `protoc --descriptor_set_out
// --include_imports` and `buf build` write it. Imports of google/protobuf/*.proto may be missing from it.
func ParseDescriptorSet(data []byte) (*Schema, error) {
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(data, set); err != nil {
		return nil, fmt.Errorf("read descriptor set: %w", err)
	}
	if len(set.File) == 0 {
		return nil, errors.New("read descriptor set: it holds no file")
	}
	set.File = withWellKnown(set.File)
	registry, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("link descriptor set: %w (made with --include_imports?)", err)
	}
	var files []protoreflect.FileDescriptor
	for _, f := range set.File {
		fd, err := registry.FindFileByPath(f.GetName())
		if err != nil {
			return nil, fmt.Errorf("link descriptor set: %w", err)
		}
		files = append(files, fd)
	}
	return NewSchema(files...)
}

// withWellKnown adds the google/protobuf files that are imported but absent, from those that this program carries.
func withWellKnown(files []*descriptorpb.FileDescriptorProto) []*descriptorpb.FileDescriptorProto {
	present := map[string]bool{}
	for _, f := range files {
		present[f.GetName()] = true
	}
	for i := 0; i < len(files); i++ {
		for _, path := range files[i].GetDependency() {
			if present[path] || !strings.HasPrefix(path, "google/protobuf/") {
				continue
			}
			fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
			if err != nil {
				continue
			}
			present[path] = true
			files = append(files, protodesc.ToFileDescriptorProto(fd))
		}
	}
	return files
}

// Merge makes one schema of several. Where two define the same file or type, the earlier one counts, and a note says so.
func Merge(schemas ...*Schema) *Schema {
	merged := &Schema{files: new(protoregistry.Files), types: map[protoreflect.FullName]protoreflect.MessageDescriptor{}}
	for _, s := range schemas {
		merged.Notes = append(merged.Notes, s.Notes...)
		s.files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
			if err := merged.files.RegisterFile(fd); err != nil && !strings.HasPrefix(fd.Path(), "google/protobuf/") {
				merged.Notes = append(merged.Notes, fmt.Sprintf("%s is defined twice: the earlier one is used", fd.Path()))
			}
			return true
		})
		for _, name := range s.order {
			if _, ok := merged.types[name]; !ok {
				merged.types[name] = s.types[name]
				merged.order = append(merged.order, name)
			}
		}
	}
	slices.Sort(merged.order)
	return merged
}

func (s *Schema) add(fd protoreflect.FileDescriptor) error {
	if fd.IsPlaceholder() {
		return fmt.Errorf("import %s is missing", fd.Path())
	}
	if _, err := s.files.FindFileByPath(fd.Path()); err == nil {
		return nil
	}
	imports := fd.Imports()
	for i := range imports.Len() {
		if err := s.add(imports.Get(i).FileDescriptor); err != nil {
			return err
		}
	}
	if err := s.files.RegisterFile(fd); err != nil {
		return err
	}
	s.addMessages(fd.Messages())
	return nil
}

func (s *Schema) addMessages(messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		md := messages.Get(i)
		if md.IsMapEntry() {
			continue
		}
		s.types[md.FullName()] = md
		s.addMessages(md.Messages())
	}
}

// Types returns every message type, by full name. google.protobuf's own types are left out.
func (s *Schema) Types() []protoreflect.MessageDescriptor {
	out := make([]protoreflect.MessageDescriptor, 0, len(s.order))
	for _, name := range s.order {
		if !strings.HasPrefix(string(name), "google.protobuf.") {
			out = append(out, s.types[name])
		}
	}
	return out
}

// Find returns the type of that full name; a name without its package will do where one type alone ends so. The error
// is an *UnknownTypeError.
func (s *Schema) Find(name string) (protoreflect.MessageDescriptor, error) {
	name = strings.TrimPrefix(name, ".")
	if md, ok := s.types[protoreflect.FullName(name)]; ok {
		return md, nil
	}
	var ends, contains []string
	for _, full := range s.order {
		switch {
		case strings.HasSuffix(string(full), "."+name):
			ends = append(ends, string(full))
		case strings.Contains(strings.ToLower(string(full)), strings.ToLower(name)):
			contains = append(contains, string(full))
		}
	}
	if len(ends) == 1 {
		return s.types[protoreflect.FullName(ends[0])], nil
	}
	sort.SliceStable(contains, func(i, j int) bool { return len(contains[i]) < len(contains[j]) })
	near := append(ends, contains...)
	return nil, &UnknownTypeError{Name: name, Near: near[:min(len(near), 5)]}
}

// FindMessageByName, FindMessageByURL, FindExtensionByName and FindExtensionByNumber let protojson and prototext resolve
// google.protobuf.Any within the schema.
func (s *Schema) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	md, ok := s.types[name]
	if !ok {
		return nil, protoregistry.NotFound
	}
	return messageType(md), nil
}

// FindMessageByURL resolves a type URL: what follows its last slash.
func (s *Schema) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return s.FindMessageByName(protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]))
}

// FindExtensionByName finds an extension that a file of the schema declares.
func (s *Schema) FindExtensionByName(field protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return dynamicpb.NewTypes(s.files).FindExtensionByName(field)
}

// FindExtensionByNumber finds an extension of a message by its field number.
func (s *Schema) FindExtensionByNumber(message protoreflect.FullName, field protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return dynamicpb.NewTypes(s.files).FindExtensionByNumber(message, field)
}

// messageType prefers generated code, which is several times faster, to a dynamic message; only where both have the very
// same descriptor.
func messageType(md protoreflect.MessageDescriptor) protoreflect.MessageType {
	mt, err := protoregistry.GlobalTypes.FindMessageByName(md.FullName())
	if err == nil && mt.Descriptor() == md {
		return mt
	}
	return dynamicpb.NewMessageType(md)
}
