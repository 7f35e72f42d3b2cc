package round

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-sql-driver/mysql"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/project"
	"isukit/input"
)

// maxDSNBytes bounds a DSN file.
const maxDSNBytes = 64 << 10

// ReadDSN reads a file with one DSN, and says whether others can read it. Errors never quote what it holds.
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
		return nil, open, fmt.Errorf(`%s holds no DSN such as "user:password@tcp(127.0.0.1:3306)/portal"`, file)
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

// compareReplicas compares the project's replicas after the load. The round fails when they differ, and when that cannot be told.
func (r *ProjectRound) compareReplicas(ctx context.Context) {
	_ = r.phase("compare", func() error {
		cfg, err := ReplicasOfProject(r.Project, r.Reach.Dir)
		if err != nil {
			r.fail("compare", err)
			return err
		}
		var names []string
		for _, d := range r.Replicas.Databases {
			names = append(names, d.Name)
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
