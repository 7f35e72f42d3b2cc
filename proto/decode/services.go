package decode

import (
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Field numbers of google.api.http: the extension of MethodOptions, and the fields of its HttpRule.
const (
	httpExtension      protowire.Number = 72295728
	additionalBindings protowire.Number = 11
)

var httpMethods = map[protowire.Number]string{2: http.MethodGet, 3: http.MethodPut, 4: http.MethodPost, 5: http.MethodDelete, 6: http.MethodPatch}

// serviceRoutes are the routes that services declare: by google.api.http, and as gRPC's and Connect's paths name them.
func serviceRoutes(schema *Schema) Routes {
	var routes Routes
	schema.files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		for i := range fd.Services().Len() {
			methods := fd.Services().Get(i).Methods()
			for j := range methods.Len() {
				routes = append(routes, methodRoutes(methods.Get(j))...)
			}
		}
		return true
	})
	return routes
}

func methodRoutes(m protoreflect.MethodDescriptor) Routes {
	request, response := string(m.Input().FullName()), string(m.Output().FullName())
	routes := Routes{{Method: http.MethodPost, Path: "/" + string(m.Parent().FullName()) + "/" + string(m.Name()), Request: request, Response: response}}
	options, err := proto.Marshal(m.Options())
	if err != nil {
		return routes
	}
	eachBytes(options, httpExtension, func(rule []byte) { routes = append(routes, ruleRoutes(rule, request, response)...) })
	return routes
}

// ruleRoutes are those of an HttpRule and of its additional bindings.
func ruleRoutes(rule []byte, request, response string) Routes {
	var routes Routes
	for number, method := range httpMethods {
		eachBytes(rule, number, func(path []byte) {
			routes = append(routes, Route{Method: method, Path: plainTemplate(string(path)), Request: request, Response: response})
		})
	}
	eachBytes(rule, additionalBindings, func(inner []byte) { routes = append(routes, ruleRoutes(inner, request, response)...) })
	return routes
}

// plainTemplate is a path of google.api.http as a route has it: "{name=teams/*}" means several segments, which are written out.
func plainTemplate(path string) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(path, "{")
		out.WriteString(before)
		inner, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return out.String()
		}
		name, pattern, has := strings.Cut(inner, "=")
		switch {
		case !has:
			out.WriteString("{" + name + "}")
		case strings.HasSuffix(pattern, "**"):
			out.WriteString(strings.TrimSuffix(pattern, "**") + "{" + name + "...}")
		default:
			out.WriteString(strings.ReplaceAll(pattern, "*", "{"+name+"}"))
		}
		path = after
	}
}

// eachBytes calls f with the content of each length-delimited field of that number.
func eachBytes(data []byte, want protowire.Number, f func([]byte)) {
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return
		}
		size := protowire.ConsumeFieldValue(number, wire, data[n:])
		if size < 0 {
			return
		}
		if number == want && wire == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(data[n:])
			f(content)
		}
		data = data[n+size:]
	}
}
