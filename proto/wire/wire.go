// Package wire carries one bare protobuf message per HTTP/1.1 body: no gRPC frame, no envelope.
//
// From an *http.Request or a response body it reads a message or a *Fault, the answer for a peer whose request cannot be read; it travels
// as portal.v1.Error. Routing, sessions and the meaning of messages are left to the caller.
package wire

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	portalv1 "isukit/proto/portal/v1"
)

const (
	// ContentType is what Write sends.
	ContentType = "application/protobuf"
	// ErrorContentType is what WriteError sends; its parameter tells an Error from any other message.
	ErrorContentType = "application/protobuf; proto=portal.v1.Error"
)

// IsProtobuf reports whether a Content-Type, with whatever parameters, says that the body is one protobuf message.
func IsProtobuf(contentType string) bool {
	if contentType == ContentType {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch mediaType {
	case "application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf":
		return true
	}
	return false
}

// IsError reports whether a Content-Type says that the body is a portal.v1.Error.
func IsError(contentType string) bool {
	if contentType == ErrorContentType {
		return true
	}
	_, params, err := mime.ParseMediaType(contentType)
	return err == nil && IsProtobuf(contentType) && params["proto"] == "portal.v1.Error"
}

// Read fills m from the body of r, of which it takes at most maxBytes. Every error is a *Fault: 415 for a body that is not declared as
// protobuf or is compressed, 413 for one that is too long, 400 for one that ends early, is not such a message or contains a string that is
// not UTF-8. m must be empty, and its content is undefined after an error.
func Read(r *http.Request, m proto.Message, maxBytes int64) error {
	if contentType := r.Header.Get("Content-Type"); !IsProtobuf(contentType) {
		return unreadableType(contentType)
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return &Fault{
			Status: http.StatusUnsupportedMediaType, Code: "bad_content_encoding",
			Message: fmt.Sprintf("the body is encoded as %s; it must be sent as it is", clip(encoding)),
		}
	}
	body, err := readBody(r, maxBytes)
	if err != nil {
		return err
	}
	return Unmarshal(body, m)
}

// Unmarshal fills m from one whole body. Every error is a *Fault with status 400.
func Unmarshal(body []byte, m proto.Message) error {
	err := proto.Unmarshal(body, m)
	if err == nil {
		return nil
	}
	name := m.ProtoReflect().Descriptor().FullName()
	// The protobuf package has no exported error for this one; its text is held by a test.
	if strings.Contains(err.Error(), "invalid UTF-8") {
		return &Fault{
			Status: http.StatusBadRequest, Code: "bad_utf8", Cause: err,
			Message: fmt.Sprintf("a string of the %s in the body is not UTF-8", name),
		}
	}
	return &Fault{
		Status: http.StatusBadRequest, Code: "malformed_body", Cause: err,
		Message: fmt.Sprintf("the body of %d bytes is no %s", len(body), name),
		Hint:    "send the bare message: no gRPC frame, no length prefix, no JSON",
	}
}

// Discard takes a body where none belongs off the connection. A body of more than maxBytes is a *Fault with status 413.
func Discard(r *http.Request, maxBytes int64) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	n, err := io.Copy(io.Discard, io.LimitReader(r.Body, maxBytes+1))
	if err != nil {
		return truncated(err)
	}
	if n > maxBytes {
		return tooLarge(maxBytes)
	}
	return nil
}

// Write answers with status and m. The error is that of writing to the client, who may be gone.
func Write(w http.ResponseWriter, status int, m proto.Message) error {
	return write(w, status, ContentType, m)
}

// WriteError answers with the status and the portal.v1.Error of f. The error is that of writing to the client.
func WriteError(w http.ResponseWriter, f *Fault) error {
	return write(w, f.Status, ErrorContentType, f.Proto())
}

func write(w http.ResponseWriter, status int, contentType string, m proto.Message) error {
	body, err := proto.Marshal(m)
	if err != nil {
		http.Error(w, "the answer could not be encoded", http.StatusInternalServerError)
		return fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("write %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return nil
}

// drainBytes limits what is read of a too long body: a client that is still sending at the close may never see why.
const drainBytes = 4 << 20

func readBody(r *http.Request, maxBytes int64) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	if r.ContentLength > maxBytes {
		_, _ = io.CopyN(io.Discard, r.Body, drainBytes) // the answer is the same if it ends early
		return nil, tooLarge(maxBytes)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBytes+1))
	if err != nil {
		return nil, truncated(err)
	}
	if int64(len(body)) > maxBytes {
		_, _ = io.CopyN(io.Discard, r.Body, drainBytes) // as above
		return nil, tooLarge(maxBytes)
	}
	return body, nil
}

func unreadableType(contentType string) *Fault {
	f := &Fault{
		Status: http.StatusUnsupportedMediaType, Code: "bad_content_type",
		Message: "the request has no Content-Type",
		Hint:    "send one bare message as Content-Type: " + ContentType,
	}
	if contentType != "" {
		f.Message = fmt.Sprintf("the Content-Type %s is not read here", clip(contentType))
	}
	return f
}

func tooLarge(maxBytes int64) *Fault {
	return &Fault{
		Status: http.StatusRequestEntityTooLarge, Code: "body_too_large",
		Message: fmt.Sprintf("the body is longer than the %d bytes that are read here", maxBytes),
	}
}

func truncated(err error) *Fault {
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) {
		return tooLarge(tooBig.Limit)
	}
	return &Fault{
		Status: http.StatusBadRequest, Code: "truncated_body", Cause: err,
		Message: "the body is shorter than its announced length",
	}
}

// clip quotes a header's value and keeps it short enough to be repeated in an answer.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most]
	}
	return strconv.QuoteToASCII(s)
}

// FromResponse returns the Error that a response of this status, Content-Type and body carries. Where the body is none,
// the Error is made from the status, with code "http_<status>", and ok is false.
func FromResponse(status int, contentType string, body []byte) (e *portalv1.Error, ok bool) {
	e = &portalv1.Error{}
	if IsError(contentType) && proto.Unmarshal(body, e) == nil && e.GetCode() != "" {
		return e, true
	}
	return &portalv1.Error{Code: fmt.Sprintf("http_%d", status), Message: http.StatusText(status)}, false
}
