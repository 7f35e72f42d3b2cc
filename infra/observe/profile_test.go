package observe_test

import (
	"context"
	"net"
	"net/http/httptest"
	"net/http/pprof"
	"testing"

	"isukit/infra/host"
	"isukit/infra/observe"
	"isukit/infra/project"
)

// far is a host that forwards connections, and runs no command. It alone knows the app's address.
type far struct {
	host.Host
	to string
}

func (far) About() host.About { return host.About{Kernel: host.OwnKernel} }

func (f far) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if address != "app.invalid:6060" {
		return nil, &net.AddrError{Err: "not the app's", Addr: address}
	}
	return new(net.Dialer).DialContext(ctx, network, f.to)
}

func TestProfileOfFarHostNeedsNoProgramThere(t *testing.T) {
	app := httptest.NewServer(pprof.Handler("heap"))
	defer app.Close()
	got, err := observe.Pprof(t.Context(), far{to: app.Listener.Addr().String()}, observe.App{Pprof: project.Pprof{Host: "s1", URL: "http://app.invalid:6060", Kinds: []string{"heap"}}})
	if err != nil || len(got) != 1 || got[0].Host != "s1" || len(got[0].Raw) == 0 || got[0].Stacks == nil {
		t.Errorf("the profile of an app on a far host: got %+v, %v", got, err)
	}
}
