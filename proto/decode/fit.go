package decode

import (
	"fmt"
	"sort"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Fit is how well a type fits a body. Protobuf does not name its types: many can read the same bytes, and all an empty body.
type Fit struct {
	Type protoreflect.FullName `json:"type"`
	// Known counts the fields, at all depths, that the type has.
	Known int `json:"known"`
	// Unknown counts fields whose numbers the type does not have.
	Unknown int `json:"unknown"`
	// Conflicts counts fields whose numbers the type has with another wire type.
	Conflicts int `json:"conflicts"`
	// Odd counts unusual values: strings without UTF-8 or with control characters, unknown enum numbers, a single field that comes twice.
	Odd int `json:"odd"`
	// Missing counts required fields (proto2) that are not there.
	Missing int `json:"missing"`
	// Damaged says that the bytes could not be read to their end as this type.
	Damaged bool `json:"damaged"`
}

// Score is a ratio in [0,1]: how many of the fields fit. 1 for an empty body.
func (f Fit) Score() float64 {
	good, bad := float64(f.Known), float64(f.Unknown+2*f.Conflicts+2*f.Odd+f.Missing)
	if f.Damaged {
		bad++
	}
	if good+bad == 0 {
		return 1
	}
	return max(0, good-float64(f.Odd)) / (good + bad)
}

// Exact reports whether every field fits.
func (f Fit) Exact() bool {
	return f.Unknown == 0 && f.Conflicts == 0 && f.Odd == 0 && f.Missing == 0 && !f.Damaged
}

// Whole reports whether every field is one of the type, with any value.
func (f Fit) Whole() bool {
	return f.Unknown == 0 && f.Conflicts == 0 && f.Missing == 0 && !f.Damaged
}

// Suspicious reports whether the type reads the bytes only as any type would: through unknown fields and conflicts.
func (f Fit) Suspicious() bool {
	return f.Conflicts > 0 || f.Unknown > f.Known || f.Damaged && f.Known == 0
}

// String is one line for a person: "portal.v1.Team: 5 fields fit, 1 unknown".
func (f Fit) String() string {
	parts := []string{plural(f.Known, "field fits", "fields fit")}
	for _, part := range []struct {
		count    int
		one, two string
	}{
		{f.Unknown, "unknown", "unknown"},
		{f.Conflicts, "of another wire type", "of another wire type"},
		{f.Odd, "odd value", "odd values"},
		{f.Missing, "required field missing", "required fields missing"},
	} {
		if part.count > 0 {
			parts = append(parts, plural(part.count, part.one, part.two))
		}
	}
	if f.Damaged {
		parts = append(parts, "damaged")
	}
	return string(f.Type) + ": " + strings.Join(parts, ", ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Candidates lists the types of the schema that read data at all well, best first: those that fit exactly or, when none
// does, those with at least half of the fields fitting. An empty body has no candidates: every type fits it.
func Candidates(schema *Schema, data []byte, limits Limits) []Fit {
	if len(data) == 0 {
		return nil
	}
	var exact, half []Fit
	for _, md := range schema.Types() {
		fit := schema.Decode(md, data, limits).Fit
		switch {
		case fit.Exact():
			exact = append(exact, fit)
		case fit.Score() >= 0.5:
			half = append(half, fit)
		}
	}
	if len(exact) > 0 {
		half = exact
	}
	sort.SliceStable(half, func(i, j int) bool { return half[i].Score() > half[j].Score() })
	return half
}

// Better lists candidates that fit data better than body's type, best first, at most five; empty unless body is suspicious.
func Better(schema *Schema, data []byte, body *Body, limits Limits) []Fit {
	if !body.Fit.Suspicious() {
		return nil
	}
	var better []Fit
	for _, fit := range Candidates(schema, data, limits) {
		if fit.Score() > body.Fit.Score() && len(better) < 5 {
			better = append(better, fit)
		}
	}
	return better
}

// missingFields lists the required fields (proto2) that m and its messages lack, each behind prefix.
func missingFields(m protoreflect.Message, prefix string) (names []string) {
	required := m.Descriptor().RequiredNumbers()
	for i := range required.Len() {
		if fd := m.Descriptor().Fields().ByNumber(required.Get(i)); !m.Has(fd) {
			names = append(names, prefix+string(fd.Name()))
		}
	}
	rangeInOrder(m, func(fd protoreflect.FieldDescriptor, v protoreflect.Value) {
		rangeMessages(fd, v, func(nested protoreflect.Message) {
			names = append(names, missingFields(nested, prefix+fieldName(fd)+".")...)
		})
	})
	return names
}

// rangeMessages calls f for each message that the value of a field holds.
func rangeMessages(fd protoreflect.FieldDescriptor, v protoreflect.Value, f func(protoreflect.Message)) {
	switch {
	case fd.IsMap() && fd.MapValue().Message() != nil:
		v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
			f(v.Message())
			return true
		})
	case fd.IsMap() || fd.Message() == nil:
	case fd.IsList():
		for i := range v.List().Len() {
			f(v.List().Get(i).Message())
		}
	default:
		f(v.Message())
	}
}
