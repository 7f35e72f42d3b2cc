package scenario

import (
	"context"
	"fmt"

	portalv1 "isukit/proto/portal/v1"

	"google.golang.org/protobuf/proto"
)

var unreadableRules = []rule{
	{"a body of another type is refused", false, func(v *validation, ctx context.Context) error {
		return v.anyone.refused(ctx, 415, call{route: "POST /api/login", raw: []byte(`{"name":"x"}`), contentType: "application/json"})
	}},
	{"other names of protobuf are accepted", false, (*validation).ruleContentTypes},
	{"a truncated body is refused", false, func(v *validation, ctx context.Context) error {
		body, err := proto.Marshal(&portalv1.LoginRequest{Name: "somebody", Password: "some password"})
		if err != nil {
			return err
		}
		return v.anyone.refused(ctx, 400, call{route: "POST /api/login", raw: body[:len(body)-3], contentType: "application/protobuf"})
	}},
	{"a body with bad UTF-8 is refused", false, func(v *validation, ctx context.Context) error {
		return v.anyone.refused(ctx, 400, call{route: "POST /api/login", raw: []byte("\x0a\x02\xff\xfe"), contentType: "application/protobuf"})
	}},
	{"an oversized body is refused", false, func(v *validation, ctx context.Context) error {
		// One field that no message knows, so that only the size is wrong.
		body := append([]byte{0xfa, 0x3f, 0x80, 0x80, 0x80, 0x01}, make([]byte, 1<<21)...)
		return v.anyone.refused(ctx, 413, call{route: "POST /api/login", raw: body, contentType: "application/protobuf"})
	}},
	{"an unknown route is not found", false, func(v *validation, ctx context.Context) error {
		return v.anyone.refused(ctx, 404, call{route: "GET /api/nowhere"})
	}},
	{"a method that a route does not have is refused", false, func(v *validation, ctx context.Context) error {
		return v.anyone.refused(ctx, 405, call{route: "DELETE /api/jobs"})
	}},
}

func (v *validation) ruleContentTypes(ctx context.Context) error {
	l := v.seat.login
	body, err := proto.Marshal(&portalv1.LoginRequest{Name: l.Name, Password: l.Password})
	if err != nil {
		return err
	}
	for _, t := range []string{"application/x-protobuf", "application/vnd.google.protobuf; proto=portal.v1.LoginRequest"} {
		if err := v.seat.do(ctx, &call{route: "POST /api/login", raw: body, contentType: t, into: &portalv1.LoginResponse{}}); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	return nil
}
