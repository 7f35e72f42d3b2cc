package site

import (
	"context"
	"path"
	"time"

	"isukit/infra/host"
)

// record is what isukit has made on a host, with the originals: it is written before anything else.
type record struct {
	Format  int    `json:"format"`
	Project string `json:"project"`
	// Topology was applied, or is being applied where Complete is not true; Before is the one that was complete then, "" for none.
	Topology string    `json:"topology"`
	Complete bool      `json:"complete"`
	Before   string    `json:"before,omitempty"`
	At       time.Time `json:"at"`
	// Homes are the roles whose data was here before the first apply: down brings it back here.
	Homes []string `json:"homes,omitempty"`
	// Tune are the tunings that each role named when the topology was applied.
	Tune  map[string][]string `json:"tune,omitempty"`
	Files []fileWas           `json:"files,omitempty"`
	Units []unitWas           `json:"units,omitempty"`
	Users []userWas           `json:"users,omitempty"`
	Data  []dataWas           `json:"data,omitempty"`
}

// fileWas is a file that was written; nil: it did not exist.
type fileWas struct {
	Path string `json:"path"`
	// Base is what isukit's lines were put into: the original, with what others have changed in it since.
	Base []byte `json:"base"`
	// Wrote is what was written last, or is being written over Was.
	Wrote []byte `json:"wrote"`
	Was   []byte `json:"was"`
}

type unitWas struct {
	Name    string `json:"name"`
	Enabled string `json:"enabled"` // as systemctl is-enabled said
	Active  bool   `json:"active"`
	// Up is what isukit wanted last.
	Up bool `json:"up"`
	// Stamp is the hash of what the unit's files said when isukit last started it, or found it running.
	Stamp string `json:"stamp"`
}

type userWas struct {
	Role string `json:"role"`
	User string `json:"user"`
	Host string `json:"host"`
	// Existed says that the account was there, and lacked the rights only.
	Existed bool `json:"existed,omitempty"`
}

type dataWas struct {
	Role    string `json:"role"`
	Schema  string `json:"schema"`
	Existed bool   `json:"existed"` // its rows are in Saved
	Saved   string `json:"saved,omitempty"`
	// Filled says that the copy was finished.
	Filled bool `json:"filled"`
}

const (
	recordFormat = 1
	// farDir is where records are on hosts other than this machine, and keptDir where dumps are that down leaves.
	farDir     = "/var/lib/isukit-site"
	keptDir    = "/var/lib/isukit-kept"
	recordFile = "record.json"
)

func readRecord(ctx context.Context, at host.Host, dir string) (*record, error) {
	return host.ReadRecord[record](ctx, at, path.Join(dir, recordFile), recordFormat)
}

// save returns when the record is on disk.
func (n *node) save(ctx context.Context) error {
	return host.WriteRecord(ctx, n.at, path.Join(n.dir, recordFile), n.rec)
}

func (r *record) file(name string) *fileWas {
	if r == nil {
		return nil
	}
	return host.Find(r.Files, func(f *fileWas) bool { return f.Path == name })
}

func (r *record) unit(name string) *unitWas {
	if r == nil {
		return nil
	}
	return host.Find(r.Units, func(u *unitWas) bool { return u.Name == name })
}

func (r *record) data(role string) *dataWas {
	if r == nil {
		return nil
	}
	return host.Find(r.Data, func(d *dataWas) bool { return d.Role == role })
}
