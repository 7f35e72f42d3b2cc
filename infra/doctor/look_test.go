package doctor_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"isukit/infra/doctor"
	"isukit/infra/host"
)

// printed is what a host might print that is small, whose programs have odd names, and some of whose lines are cut.
const printed = `@stat1 7 (ngi) (nx) S 1 7 7 0 -1 4194560 100 0 0 0 30 20 0 0 20 0 1 0 100 1000 50
@ip1 Ip: InHdrErrors
@ip1 Ip: 5
@time 1792000000.5
@stat2 7 (ngi) (nx) S 1 7 7 0 -1 4194560 100 0 0 0 90 20 0 0 20 0 1 0 100 1000 50
@stat2 8 (child) S 7 7 7 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 100 1000 50
@ip2 Ip: InHdrErrors
@ip2 Ip: 9
@time 1792000001.5
@process 7 10
@process 8 10
@process 9 10
@limits 7 1024 4096
@limits 8 unlimited unlimited
@limits 9 1024
@uid 7 33
@gids 7 33
@gids 7 4 24
@limit 7 max
@limit 7 1048576
@limit 7 524288
@mem MemTotal: 1000
@mem
@link 2: eth0@if3: <UP> mtu 9000
@link
@addr 2: eth0    inet 10.0.0.1/24 brd
@df /dev/vda 100 90 10 90% /var with blank
@dfi /dev/vda 10 9 1 90% /var with blank
@time x
@time 1792000001.6
`

// looked is a host on which every command prints the same.
type looked struct {
	host.Host
	text string
	code int
}

func (l looked) About() host.About { return host.About{Name: "looked", Root: true} }

func (l looked) Run(context.Context, host.Command) (host.Result, error) {
	return host.Result{Code: l.code, Stdout: []byte(l.text)}, nil
}

func TestLook(t *testing.T) {
	h, err := doctor.Look(t.Context(), looked{text: printed}, doctor.LookOptions{Roles: map[int]string{7: "proxy-1"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Processes) != 2 {
		t.Fatalf("processes: %+v", h.Processes)
	}
	p, child := h.Processes[0], h.Processes[1]
	for name, c := range map[string]struct{ got, want any }{
		"name": {p.Name, "ngi) (nx"}, "role": {p.Role, "proxy-1"}, "the child's role": {child.Role, "proxy-1"}, "CPU": {p.CPU.String(), "600ms"}, "over": {h.Over.String(), "1s"},
		"files": {p.OpenFiles, int64(10)}, "soft limit": {p.SoftLimit, int64(1024)}, "no limit": {child.SoftLimit, int64(0)}, "memory limit": {p.MemoryLimit, int64(524288)},
		"account": {p.UID, 33}, "groups": {fmt.Sprint(p.GIDs), "[33 4 24]"}, "bad headers": {h.HeaderErrors, int64(4)}, "memory": {h.MemTotal, int64(1000 << 10)},
		"link": {fmt.Sprint(h.Links), "[{eth0 9000 true [10.0.0.1]}]"}, "disks": {len(h.Disks), 1}, "inodes": {h.Disks[0].InodesUsed, int64(9)}, "mount": {h.Disks[0].Mount, "/var with blank"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	wantFinding(t, "inodes", diagnose(t, "disk-full", observed(h)), doctor.Warn, "find", "9 of 10 inodes")
	for n := range len(printed) { // truncated input must not stop it
		if _, err := doctor.Look(t.Context(), looked{text: printed[:n]}, doctor.LookOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := doctor.Look(t.Context(), looked{code: 126}, doctor.LookOptions{}); err == nil || !strings.Contains(err.Error(), "exit status 126") {
		t.Errorf("a shell that fails: %v", err)
	}
}
