package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"isukit/app"
	"isukit/app/dataset"
	inyaml "isukit/input/yaml"
)

const maxConfigBytes = 1 << 20

// minOpenConns is what an initialize takes, its lock and two copies, and one more.
const minOpenConns = 4

// config is the configuration file. Relative paths in it are relative to the file.
type config struct {
	Role            string         `yaml:"role"`              // web, api or all; default all
	Listen          string         `yaml:"listen"`            // address:port
	Socket          string         `yaml:"socket"`            // path of a Unix socket to serve on as well; none when empty
	DebugListen     string         `yaml:"debug_listen"`      // address:port of pprof; none when empty
	Databases       []databaseConf `yaml:"databases"`         // the replicas; the first decides the order of writes
	SessionKeyFile  string         `yaml:"session_key_file"`  // 32 bytes or more, mode 0600
	WorkerTokenFile string         `yaml:"worker_token_file"` // 16 bytes or more, mode 0600
	APIURL          string         `yaml:"api_url"`           // where workers reach the api role; empty: where web is
	Dataset         datasetConf    `yaml:"dataset"`
	AppID           int            `yaml:"app_id"`         // unique among the running processes; part of their ids
	MaxOpenConns    int            `yaml:"max_open_conns"` // to each database, 4 or more; 0: the default of app/fanout

	// How the tables are placed, written and read; see placement.go.
	Groups       []groupConf `yaml:"groups"`        // which tables are on which databases; empty: all on all
	WriteMode    string      `yaml:"write_mode"`    // see app/fanout; empty: its default
	AppProcesses int         `yaml:"app_processes"` // that write to the databases; 0: one
	ReadPolicy   string      `yaml:"read_policy"`   // random or least-busy; empty: random
	ReadDSNFile  string      `yaml:"read_dsn_file"` // where reads go instead of to DSN; groups have their own

	readDSN *mysql.Config
}

type databaseConf struct {
	Name    string `yaml:"name"`
	DSNFile string `yaml:"dsn_file"` // holds one go-sql-driver DSN, mode 0600
	Weight  int    `yaml:"weight"`   // its share of the reads, relative to the others; 0: 1

	dsn *mysql.Config
}

type datasetConf struct {
	Scale dataset.Scale `yaml:"scale"`
	Seed  uint64        `yaml:"seed"`
}

type configFlags struct{ file, role string }

const configHint = `"isukit-app --help" shows a configuration, app/README.md all its keys`

// load reads the file that the flags name and everything that it names. The error is a *usageError with every fault.
func (f *configFlags) load() (*config, error) {
	if f.file == "" {
		return nil, &usageError{errors.New("no configuration"), "give --config FILE; " + configHint}
	}
	conf, err := readConfig(f.file)
	if err != nil {
		return nil, &usageError{err, configHint}
	}
	if f.role != "" {
		conf.Role = f.role
	}
	if err := conf.settle(filepath.Dir(f.file)); err != nil {
		return nil, &usageError{fmt.Errorf("%s:\n%w", f.file, err), configHint}
	}
	return conf, nil
}

func readConfig(file string) (*config, error) {
	data, err := readBounded(file)
	if err != nil {
		return nil, err
	}
	if err := unknownKeys(data); err != nil {
		return nil, fmt.Errorf("%s:\n%w", file, err)
	}
	conf := &config{Role: string(app.RoleAll), Dataset: datasetConf{Scale: dataset.Standard}}
	if err := inyaml.Decode(data, conf); err != nil {
		return nil, fmt.Errorf("%s: %s", file, yaml.FormatError(err, false, false))
	}
	return conf, nil
}

// knownKeys are the keys of each mapping by its path; list elements have none.
var knownKeys = map[string][]string{
	"": {"role", "listen", "socket", "debug_listen", "databases", "session_key_file", "worker_token_file", "api_url", "dataset", "app_id",
		"max_open_conns", "groups", "write_mode", "app_processes", "read_policy", "read_dsn_file"},
	"databases": {"name", "dsn_file", "weight"},
	"groups":    {"name", "tables", "databases", "read_dsn_file"},
	"dataset":   {"scale", "seed"},
}

// unknownKeys reports every key that config does not have, with its line and column.
func unknownKeys(data []byte) error {
	file, err := inyaml.Parse(data)
	if err != nil {
		return errors.New(yaml.FormatError(err, false, false))
	}
	var faults []error
	for _, doc := range file.Docs {
		faults = append(faults, unknownIn(doc.Body, "")...)
	}
	return errors.Join(faults...)
}

func unknownIn(node ast.Node, under string) []error {
	var faults []error
	switch n := node.(type) {
	case *ast.SequenceNode:
		for _, v := range n.Values {
			faults = append(faults, unknownIn(v, under)...)
		}
	case *ast.MappingNode:
		for _, v := range n.Values {
			key := v.Key.GetToken()
			if !slices.Contains(knownKeys[under], key.Value) {
				faults = append(faults, fmt.Errorf("%d:%d: unknown key %q", key.Position.Line, key.Position.Column, key.Value))
				continue
			}
			if _, nested := knownKeys[key.Value]; nested && under == "" {
				faults = append(faults, unknownIn(v.Value, key.Value)...)
			}
		}
	}
	return faults
}

// settle makes paths absolute to dir, reads the DSNs, and reports all errors together.
func (c *config) settle(dir string) error {
	var faults []error
	fault := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %w", key, fmt.Errorf(format, args...)))
	}
	if role := app.Role(c.Role); role != app.RoleWeb && role != app.RoleAPI && role != app.RoleAll {
		fault("role", "%q does not exist; use web, api or all", c.Role)
	}
	if err := checkListen(c.Listen); err != nil {
		fault("listen", "%w", err)
	}
	if c.Socket != "" {
		c.Socket = under(dir, c.Socket)
	}
	if c.DebugListen != "" {
		if err := checkListen(c.DebugListen); err != nil {
			fault("debug_listen", "%w", err)
		}
	}
	for _, err := range c.settleDatabases(dir) {
		fault("databases", "%w", err)
	}
	faults = append(faults, c.settlePlacement(dir)...)
	for key, file := range map[string]*string{"session_key_file": &c.SessionKeyFile, "worker_token_file": &c.WorkerTokenFile} {
		if *file == "" {
			fault(key, "is missing")
			continue
		}
		*file = under(dir, *file)
	}
	if err := checkURL(c.APIURL); err != nil {
		fault("api_url", "%w", err)
	}
	if err := c.Dataset.Scale.Validate(); err != nil {
		fault("dataset", "%w", err)
	}
	if c.AppID < 0 || c.AppID > app.MaxAppID {
		fault("app_id", "%d must be from 0 to %d", c.AppID, app.MaxAppID)
	}
	if c.MaxOpenConns != 0 && c.MaxOpenConns < minOpenConns {
		fault("max_open_conns", "%d is below %d", c.MaxOpenConns, minOpenConns)
	}
	slices.SortStableFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

func (c *config) settleDatabases(dir string) []error {
	if len(c.Databases) == 0 {
		return []error{errors.New("name at least one")}
	}
	var faults []error
	for i := range c.Databases {
		d := &c.Databases[i]
		if d.DSNFile == "" {
			faults = append(faults, fmt.Errorf("dsn_file of database %d is missing", i+1))
			continue
		}
		d.DSNFile = under(dir, d.DSNFile)
		var err error
		if d.dsn, err = readDSN(d.DSNFile); err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}

// readDSN never repeats the DSN in an error: it holds a password.
func readDSN(file string) (*mysql.Config, error) {
	text, err := readSecret(file)
	if err != nil {
		return nil, err
	}
	dsn, err := mysql.ParseDSN(text)
	if err != nil {
		return nil, fmt.Errorf("%s must contain a DSN of the form user:password@tcp(host:port)/database", file)
	}
	if dsn.DBName == "" {
		return nil, fmt.Errorf("the DSN in %s names no database", file)
	}
	return dsn, nil
}

// readSecret reads a file that nobody but its owner may read; surrounding white space is not part of the secret.
func readSecret(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%s has mode %04o; it contains a secret and needs 0600", file, mode)
	}
	data, err := readBounded(file)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(data)), nil
}

func readBounded(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxConfigBytes {
		return nil, &fs.PathError{Op: "read", Path: file, Err: fmt.Errorf("not a file of at most %d bytes", maxConfigBytes)}
	}
	return os.ReadFile(file)
}

func under(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

func checkListen(address string) error {
	if address == "" {
		return errors.New("is missing")
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("%q is not of the form address:port", address)
	}
	return nil
}

func checkURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return fmt.Errorf("%q is not of the form http://host:port", s)
	}
	return nil
}
