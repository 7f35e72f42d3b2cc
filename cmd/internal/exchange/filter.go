package exchange

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
	"isukit/proto/decode"
)

// Filter selects exchanges. Flags of different kinds must all fit, of one kind any.
type Filter struct {
	Methods, Paths, Statuses, Types, Fields []string

	statusRanges [][2]int
	routes       decode.Routes
	Incomplete   bool
}

// Parse checks the flags.
func (f *Filter) Parse() error {
	for _, s := range f.Statuses {
		r, err := statusRange(s)
		if err != nil {
			return err
		}
		f.statusRanges = append(f.statusRanges, r)
	}
	for _, p := range f.Paths {
		f.routes = append(f.routes, decode.Route{Method: "*", Path: p})
	}
	for _, field := range f.Fields {
		if !strings.Contains(field, "=") {
			return ui.UsageError(fmt.Errorf("--where %q has no \"=\"", field), "the form is team.name=sushi")
		}
	}
	return nil
}

// CheckTypes refuses short names that no type has. A full one may be unknown: a content type can name any.
func (f *Filter) CheckTypes(schema *decode.Schema) error {
	for _, name := range f.Types {
		known := slices.ContainsFunc(schema.Types(), func(md protoreflect.MessageDescriptor) bool { return isType(string(md.FullName()), name) })
		if _, err := schema.Find(name); err != nil && !known && !strings.Contains(name, ".") {
			return ui.UsageError(fmt.Errorf("--only-type: %w", err), "isukit types lists the types that are known")
		}
	}
	return nil
}

func statusRange(s string) ([2]int, error) {
	low, high := s, s
	if strings.HasSuffix(s, "xx") {
		low, high = s[:len(s)-2]+"00", s[:len(s)-2]+"99"
	} else if a, b, ok := strings.Cut(s, "-"); ok {
		low, high = a, b
	}
	from, err1 := strconv.Atoi(low)
	to, err2 := strconv.Atoi(high)
	if err1 != nil || err2 != nil || from > to {
		return [2]int{}, ui.UsageError(fmt.Errorf("--status %q is not a status", s), "the forms are 200, 4xx and 500-599")
	}
	return [2]int{from, to}, nil
}

// LeftOutHint is a hint about requests that were sent without earlier ones that a filter omits; "" if all were sent.
func (f *Filter) LeftOutHint() string {
	if len(f.Methods)+len(f.Paths)+len(f.Statuses)+len(f.Types)+len(f.Fields) == 0 && !f.Incomplete {
		return ""
	}
	return "these requests may need others, for example a login; without --status and the other filters all are sent in order"
}

// beforeDecoding is the part of the filter that needs no bodies.
func (f *Filter) beforeDecoding(e *capture.Exchange) bool {
	if len(f.Methods) > 0 && (e.Request == nil || !slices.ContainsFunc(f.Methods, func(m string) bool { return strings.EqualFold(m, e.Request.Method) })) {
		return false
	}
	if len(f.routes) > 0 {
		if e.Request == nil {
			return false
		}
		if _, ok := f.routes.Match(e.Request.Method, e.Request.Target); !ok {
			return false
		}
	}
	return len(f.statusRanges) == 0 || e.Response != nil && slices.ContainsFunc(f.statusRanges, func(r [2]int) bool {
		return r[0] <= e.Response.Status && e.Response.Status <= r[1]
	})
}

// match is the part of the filter that looks at messages.
func (f *Filter) match(d *Decoded) bool {
	if f.Incomplete && len(d.faults()) == 0 {
		return false
	}
	if len(f.Types) > 0 && !slices.ContainsFunc(f.Types, func(name string) bool { return isType(d.req.typ, name) || isType(d.resp.typ, name) }) {
		return false
	}
	for _, field := range f.Fields {
		path, want, _ := strings.Cut(field, "=")
		if !hasField(d.req.body, path, want) && !hasField(d.resp.body, path, want) {
			return false
		}
	}
	return true
}

func isType(full, name string) bool {
	return full != "" && (full == name || strings.HasSuffix(full, "."+name))
}

func hasField(b *decode.Body, path, want string) bool {
	return b != nil && messageHas(b.Message, path, want)
}

// messageHas reports whether the field at path, in any element of the lists on the way, has that value as text shows it.
func messageHas(m protoreflect.Message, path, want string) bool {
	name, rest, nested := strings.Cut(path, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
	if fd == nil || fd.IsMap() {
		return false
	}
	has := func(v protoreflect.Value) bool {
		if nested {
			return fd.Message() != nil && messageHas(v.Message(), rest, want)
		}
		return fd.Message() == nil && valueIs(fd, v, want)
	}
	if !fd.IsList() {
		return has(m.Get(fd))
	}
	list := m.Get(fd).List()
	for i := range list.Len() {
		if has(list.Get(i)) {
			return true
		}
	}
	return false
}

func valueIs(fd protoreflect.FieldDescriptor, v protoreflect.Value, want string) bool {
	switch fd.Kind() {
	case protoreflect.EnumKind:
		value := fd.Enum().Values().ByNumber(v.Enum())
		return value != nil && string(value.Name()) == want || strconv.Itoa(int(v.Enum())) == want
	case protoreflect.BytesKind:
		return string(v.Bytes()) == want
	}
	return v.String() == want
}
