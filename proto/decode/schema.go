package decode

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Schema is a set of message types. It is safe for concurrent use once made.
type Schema struct {
	// Notes are usable oddities of the schema, one sentence each, for instance an import root that is wrong by a level.
	Notes []string

	files *protoregistry.Files
	types map[protoreflect.FullName]protoreflect.MessageDescriptor
	// order holds the keys of types, sorted.
	order []protoreflect.FullName
	// extensions are those that the files declare, by the message that they extend and by number, and by name.
	extensions      map[protoreflect.FullName]map[protoreflect.FieldNumber]protoreflect.ExtensionType
	extensionByName map[protoreflect.FullName]protoreflect.ExtensionType
	// groups says that a field's name in text is its message's.
	groups bool
	// layouts are those of the types whose bodies were printed.
	layouts sync.Map
}

func emptySchema() *Schema {
	return &Schema{files: new(protoregistry.Files), types: map[protoreflect.FullName]protoreflect.MessageDescriptor{},
		extensions:      map[protoreflect.FullName]map[protoreflect.FieldNumber]protoreflect.ExtensionType{},
		extensionByName: map[protoreflect.FullName]protoreflect.ExtensionType{}}
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
	s := emptySchema()
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

// ParseDescriptorSet makes a schema of a serialized FileDescriptorSet, the output of `protoc --descriptor_set_out --include_imports` and
// `buf build`. Imports of google/protobuf/*.proto may be missing from it.
func ParseDescriptorSet(data []byte) (*Schema, error) {
	set := new(descriptorpb.FileDescriptorSet)
	if _, err := countMessages(set.ProtoReflect().Descriptor(), data, 0); err != nil {
		return nil, fmt.Errorf("read descriptor set: %w", err)
	}
	if err := proto.Unmarshal(data, set); err != nil {
		return nil, fmt.Errorf("read descriptor set: %w", err)
	}
	if len(set.File) == 0 {
		return nil, errors.New("read descriptor set: it contains no files")
	}
	set.File = withWellKnown(set.File)
	notes := withoutMessageSets(set.File)
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
	schema, err := NewSchema(files...)
	if err == nil {
		schema.Notes = append(schema.Notes, notes...)
	}
	return schema, err
}

// withoutMessageSets makes MessageSets ordinary messages, since Go's library refuses the whole set. Their items have numbers only.
func withoutMessageSets(files []*descriptorpb.FileDescriptorProto) (notes []string) {
	var clear func(prefix string, messages []*descriptorpb.DescriptorProto)
	clear = func(prefix string, messages []*descriptorpb.DescriptorProto) {
		for _, m := range messages {
			if m.GetOptions().GetMessageSetWireFormat() {
				m.Options.MessageSetWireFormat = nil
				m.ExtensionRange, m.Extension = withinNumbers(m.ExtensionRange), nil
				notes = append(notes, fmt.Sprintf("%s%s is a MessageSet: its items are shown by number", prefix, m.GetName()))
			}
			clear(prefix+m.GetName()+".", m.NestedType)
		}
	}
	for _, f := range files {
		prefix := ""
		if f.GetPackage() != "" {
			prefix = f.GetPackage() + "."
		}
		clear(prefix, f.MessageType)
	}
	return notes
}

// withinNumbers ends ranges at the largest field number of an ordinary message: a MessageSet's go further.
func withinNumbers(ranges []*descriptorpb.DescriptorProto_ExtensionRange) []*descriptorpb.DescriptorProto_ExtensionRange {
	for _, r := range ranges {
		if r.GetEnd() > int32(protowire.MaxValidNumber)+1 {
			r.End = proto.Int32(int32(protowire.MaxValidNumber) + 1)
		}
	}
	return ranges
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

// Merge makes one schema of several. If two define the same file or type, the earlier one counts, with a note.
func Merge(schemas ...*Schema) *Schema {
	merged := emptySchema()
	for _, s := range schemas {
		merged.Notes, merged.groups = append(merged.Notes, s.Notes...), merged.groups || s.groups
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
		for _, xt := range s.extensionByName {
			merged.addExtension(xt)
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
	s.addExtensions(fd.Extensions())
	return nil
}

func (s *Schema) addExtensions(extensions protoreflect.ExtensionDescriptors) {
	for i := range extensions.Len() {
		s.addExtension(extensionType(extensions.Get(i)))
	}
}

// addExtension adds an extension, unless there is one of its name or number.
func (s *Schema) addExtension(xt protoreflect.ExtensionType) {
	xd := xt.TypeDescriptor()
	of := s.extensions[xd.ContainingMessage().FullName()]
	if of == nil {
		of = map[protoreflect.FieldNumber]protoreflect.ExtensionType{}
		s.extensions[xd.ContainingMessage().FullName()] = of
	}
	if of[xd.Number()] == nil && s.extensionByName[xd.FullName()] == nil {
		of[xd.Number()], s.extensionByName[xd.FullName()] = xt, xt
	}
}

// extension returns the extension of a message with that number, or nil.
func (s *Schema) extension(md protoreflect.MessageDescriptor, number protoreflect.FieldNumber) protoreflect.FieldDescriptor {
	if md.ExtensionRanges().Len() == 0 || !md.ExtensionRanges().Has(number) {
		return nil
	}
	if xt := s.extensions[md.FullName()][number]; xt != nil {
		return xt.TypeDescriptor()
	}
	return nil
}

func (s *Schema) addMessages(messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		md := messages.Get(i)
		if md.IsMapEntry() {
			continue
		}
		s.types[md.FullName()] = md
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			s.groups = s.groups || fd.TextName() != string(fd.Name())
		}
		s.addMessages(md.Messages())
		s.addExtensions(md.Extensions())
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

// Find returns the type of that full name, or the only one whose name ends so. The error is an *UnknownTypeError.
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

// These four methods let protojson and prototext resolve google.protobuf.Any within the schema.
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
	if xt := s.extensionByName[field]; xt != nil {
		return xt, nil
	}
	return nil, protoregistry.NotFound
}

// FindExtensionByNumber finds an extension of a message by its field number.
func (s *Schema) FindExtensionByNumber(message protoreflect.FullName, field protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	if xt := s.extensions[message][field]; xt != nil {
		return xt, nil
	}
	return nil, protoregistry.NotFound
}

// messageType prefers generated code, several times faster than a dynamic message, if its descriptor is the same.
func messageType(md protoreflect.MessageDescriptor) protoreflect.MessageType {
	mt, err := protoregistry.GlobalTypes.FindMessageByName(md.FullName())
	if err == nil && mt.Descriptor() == md {
		return mt
	}
	return dynamicpb.NewMessageType(md)
}

// extensionType is an extension's type: generated code where it has the very same descriptor.
func extensionType(xd protoreflect.ExtensionDescriptor) protoreflect.ExtensionType {
	xt, err := protoregistry.GlobalTypes.FindExtensionByName(xd.FullName())
	if err == nil && xt.TypeDescriptor().Descriptor() == xd {
		return xt
	}
	return dynamicpb.NewExtensionType(xd)
}
