package decode

import (
	"mime"
	"strings"

	"isukit/proto"
)

// Route and Routes are the messages in the bodies of methods and paths.
type (
	Route  = proto.Route
	Routes = proto.Routes
)

// Direction is which way a body goes.
type Direction int

// A body is of a Request or of a Response.
const (
	Request Direction = iota
	Response
)

// TypeOf names the message of one body, or is "". The parameter "proto" (or "messageType") of the content type wins, then the route; but not
// for an answer with status 400 and above, since such answers carry errors.
func TypeOf(routes Routes, method, path string, direction Direction, status int, contentType string) string {
	if name := TypeOfContentType(contentType); name != "" {
		return name
	}
	route, ok := routes.Match(method, path)
	switch {
	case !ok:
		return ""
	case direction == Request:
		return route.Request
	case status >= 400:
		return ""
	}
	return route.Response
}

// TypeOfContentType returns the message that a content type's parameter names, or "".
func TypeOfContentType(contentType string) string {
	if !strings.Contains(contentType, ";") {
		return ""
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	for _, key := range []string{"proto", "messagetype", "message"} {
		if name := params[key]; name != "" {
			return strings.TrimPrefix(name, ".")
		}
	}
	return ""
}

// IsProtobuf reports whether a content type is one protobuf message. Without one it may be: ok is then false.
func IsProtobuf(contentType string) (ok bool) {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch kind {
	case "application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf", "application/x-google-protobuf":
		return true
	}
	return strings.HasPrefix(kind, "application/") && (strings.HasSuffix(kind, "+protobuf") || strings.HasSuffix(kind, "+proto"))
}

// MayBeProtobuf reports whether a body of that content type may be one protobuf message: one that says it is, one without a type, and, where
// a type is named for it, application/octet-stream. A parameter of the content type that names the message decides as well.
func MayBeProtobuf(contentType string, named bool) bool {
	if contentType == "" || IsProtobuf(contentType) || TypeOfContentType(contentType) != "" {
		return true
	}
	kind, _, _ := strings.Cut(contentType, ";")
	return named && strings.EqualFold(strings.TrimSpace(kind), "application/octet-stream")
}
