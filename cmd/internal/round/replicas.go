package round

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"forge.example/account/isukit/app/fanout"
	"isukit/bench"
	"isukit/bench/load"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/host"
	"isukit/infra/project"
	"isukit/infra/topology"
	"isukit/input"
)

// WithReplicas returns the scenario, with a check that compares the databases if several have the same tables.
func WithReplicas(s bench.Scenario, running *infra.Running, top *topology.Topology) bench.Scenario {
	if len(ReplicasOf(top)) == 0 {
		return s
	}
	return withReplicaCheck{s, running, top}
}

// ReplicasOf are the names of the databases that hold the same tables as another one.
func ReplicasOf(top *topology.Topology) []string {
	var names []string
	if len(top.Data.Groups) == 0 {
		for _, i := range top.Of(topology.DB) {
			names = append(names, i.Name)
		}
		if len(names) < 2 {
			return nil
		}
		return names
	}
	for _, g := range top.Data.Groups {
		if len(g.Databases) > 1 {
			names = append(names, g.Databases...)
		}
	}
	return names
}

// withReplicaCheck adds a check that the databases have the same rows: random reads hide differences for a while.
type withReplicaCheck struct {
	bench.Scenario
	running *infra.Running
	top     *topology.Topology
}

// Check implements bench.Scenario.
func (c withReplicaCheck) Check(ctx context.Context) ([]string, error) {
	faults, err := c.Scenario.Check(ctx)
	if err != nil {
		return faults, err
	}
	different, err := compareReplicas(ctx, PlacementOf(c.top, c.running.DSNs()), ReplicasOf(c.top))
	return append(faults, different...), err
}

const (
	// maxDifferences is how many rows of a table a fault names.
	maxDifferences = 5
	// catchUpLimit is how far databases with replication of their own may be behind after the load.
	catchUpLimit = time.Minute
)

// compareReplicas returns a fault for every table whose rows differ, and for every database that is out of service.
func compareReplicas(ctx context.Context, cfg fanout.Config, compared []string) (faults []string, err error) {
	pool, err := fanout.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("compare the databases: %w", err)
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	status, err := settled(ctx, pool)
	if err != nil {
		return nil, fmt.Errorf("compare the databases: %w", err)
	}
	for _, r := range status.Replicas {
		if r.State != fanout.InService {
			faults = append(faults, fmt.Sprintf("database %s is out of service: %s", r.Name, r.Reason))
		}
		if r.State == fanout.LeftOut { // what it has not copied yet would be taken for rows that differ
			compared = slices.DeleteFunc(compared, func(name string) bool { return name == r.Name })
		}
	}
	if len(compared) == 0 {
		return faults, nil
	}
	report, err := pool.Check(ctx, fanout.CheckOptions{Replicas: compared})
	if err != nil {
		return faults, fmt.Errorf("compare the databases: %w", err)
	}
	for _, t := range report.Tables {
		if t.Differing > 0 {
			faults = append(faults, differenceText(t))
		}
	}
	return faults, nil
}

// PlacementOf is how the app writes to the databases of a topology, for one who looks on.
func PlacementOf(top *topology.Topology, dsns map[string]string) fanout.Config {
	cfg := fanout.Config{Mode: fanout.Mode(top.Data.Write), Observer: true}
	for _, i := range top.Of(topology.DB) {
		cfg.Replicas = append(cfg.Replicas, fanout.Replica{Name: i.Name, DSN: dsns[i.Name]})
	}
	for _, g := range top.Data.Groups {
		cfg.Groups = append(cfg.Groups, fanout.Group{Name: g.Name, Replicas: g.Databases, Tables: g.Tables})
	}
	return cfg
}

// settled returns the databases' status once none is left out because it is late, or none of those has come back in time.
func settled(ctx context.Context, pool *fanout.Pool) (fanout.Status, error) {
	for deadline := time.Now().Add(catchUpLimit); ; {
		status, err := pool.Status(ctx)
		late := slices.ContainsFunc(status.Replicas, func(r fanout.ReplicaStatus) bool { return r.State == fanout.LeftOut })
		if err != nil || !late || time.Now().After(deadline) {
			return status, err
		}
		if err := load.Sleep(ctx, 100*time.Millisecond); err != nil {
			return status, err
		}
	}
}

func differenceText(t fanout.TableCheck) string {
	text := fmt.Sprintf("databases differ in %d row(s) of table %s", t.Differing, t.Table)
	for n, d := range t.Differences {
		if n == maxDifferences {
			return text + ", ..."
		}
		text += fmt.Sprintf(", %s %v", d.Key, d.Rows)
	}
	return text
}

const maxDSNBytes = 64 << 10

// ReadDSN reads a file with one DSN; open: other users can read it. Errors never quote its content.
func ReadDSN(file string) (dsn *mysql.Config, open bool, err error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, false, err
	}
	open = st.Mode().Perm()&0o077 != 0
	text, err := input.Read(file, maxDSNBytes)
	if err != nil {
		return nil, open, err
	}
	if dsn, err = mysql.ParseDSN(strings.TrimSpace(string(text))); err != nil {
		return nil, open, fmt.Errorf(`%s must contain a DSN such as "user:password@tcp(127.0.0.1:3306)/portal"`, file)
	}
	return dsn, open, nil
}

// ReplicasOfProject is how the app writes to the databases that a project names, for one who looks on; no replicas where it names none.
func ReplicasOfProject(p *project.Project, dir string) (fanout.Config, error) {
	cfg := fanout.Config{Mode: fanout.Mode(p.Replicas.Mode), Observer: true}
	if cfg.Mode == "" {
		cfg.Mode = fanout.ModeOrdered
	}
	var faults []error
	for _, d := range p.Replicas.Databases {
		file := d.DSNFile
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		dsn, _, err := ReadDSN(file)
		if err != nil {
			faults = append(faults, fmt.Errorf("replica %s: %w", d.Name, err))
			continue
		}
		cfg.Replicas = append(cfg.Replicas, fanout.Replica{Name: d.Name, MySQL: dsn})
	}
	if len(faults) == 0 && len(cfg.Replicas) > 0 {
		faults = append(faults, cfg.Validate())
	}
	return cfg, errors.Join(faults...)
}

// PlacedReplicas are the databases that the project names; or otherwise those of the role that the topology that is up has on several hosts, by
// the names of these. The latter are asked as the app's user, from the hosts that they are on.
func (o *Opened) PlacedReplicas(ctx context.Context) (fanout.Config, error) {
	cfg, err := ReplicasOfProject(o.Project, o.Reach.Dir)
	if err != nil || len(cfg.Replicas) > 0 {
		return cfg, err
	}
	t, _ := o.declared.Placement(o.up)
	role := o.declared.Replicated(t)
	if role == nil {
		return cfg, ui.UsageError(fmt.Errorf("no topology of %s with a database on several hosts is up", o.Name), "isukit topology apply NAME; or name the databases under replicas in "+project.FileName)
	}
	placed, err := o.Site()
	if err != nil {
		return cfg, err
	}
	password, err := placed.Password(ctx, *role)
	if err != nil {
		return cfg, err
	}
	port := ":" + strconv.Itoa(cmp.Or(role.Port, 3306))
	for _, name := range t.Hosts[role.Name] {
		dial := new(net.Dialer).DialContext
		if d, ok := o.Reach.Named[name].(host.Dialer); ok {
			dial = d.Dial
		}
		c := mysql.NewConfig()
		c.User, c.Passwd, c.DBName, c.Net, c.Addr = role.MySQL.User, password, role.MySQL.Schema, "tcp", name+port
		c.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dial(ctx, network, "127.0.0.1"+port)
		}
		cfg.Replicas = append(cfg.Replicas, fanout.Replica{Name: name, MySQL: c})
	}
	return cfg, cfg.Validate()
}

// compareReplicas compares the project's replicas after the load. The round fails when they differ, and when that cannot be told.
func (r *ProjectRound) compareReplicas(ctx context.Context) {
	_ = r.phase("compare", func() error {
		cfg, err := r.PlacedReplicas(ctx)
		if err != nil {
			r.fail("compare", err)
			return err
		}
		var names []string
		for _, replica := range cfg.Replicas {
			names, r.secrets = append(names, replica.Name), append(r.secrets, replica.MySQL.Passwd)
		}
		faults, err := compareReplicas(ctx, cfg, names)
		if err != nil {
			r.fail("compare", err)
		}
		for _, f := range faults {
			r.fail("compare", errors.New(f))
			err = errors.New("they differ")
		}
		return err
	})
}
