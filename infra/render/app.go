package render

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"mime"
	"net"
	"path"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"isukit/infra/topology"
)

type appConfig struct {
	Role            string        `yaml:"role"`
	Listen          string        `yaml:"listen"`
	Socket          string        `yaml:"socket,omitempty"`
	DebugListen     string        `yaml:"debug_listen"`
	Databases       []appDatabase `yaml:"databases"`
	Groups          []appGroup    `yaml:"groups,omitempty"`
	SessionKeyFile  string        `yaml:"session_key_file"`
	WorkerTokenFile string        `yaml:"worker_token_file"`
	APIURL          string        `yaml:"api_url"`
	Dataset         appDataset    `yaml:"dataset"`
	AppID           int           `yaml:"app_id"`
	WriteMode       string        `yaml:"write_mode,omitempty"`
	ReadPolicy      string        `yaml:"read_policy,omitempty"`
	ReadDSNFile     string        `yaml:"read_dsn_file,omitempty"`
	AppProcesses    int           `yaml:"app_processes"`
	MaxOpenConns    int           `yaml:"max_open_conns"`
}

type appDatabase struct {
	Name    string `yaml:"name"`
	DSNFile string `yaml:"dsn_file"`
}

type appGroup struct {
	Name      string   `yaml:"name"`
	Tables    []string `yaml:"tables"`
	Databases []string `yaml:"databases"`
}

type appDataset struct {
	Scale string `yaml:"scale"`
	Seed  uint64 `yaml:"seed"`
}

func (in Input) app(i topology.Instance) ([]File, error) {
	place, data := in.Places[i.Name], in.Topology.Data
	conf := appConfig{
		Role: string(i.Role), Listen: place.HostPort(), Socket: in.socketOf(i),
		DebugListen:     net.JoinHostPort(place.Address, strconv.Itoa(place.DebugPort)),
		SessionKeyFile:  path.Join(place.Dir, SessionKeyFile),
		WorkerTokenFile: path.Join(place.Dir, WorkerTokenFile),
		APIURL:          in.apiURL(),
		Dataset:         appDataset{Scale: in.Scale, Seed: in.Seed},
		AppID:           in.appID(i),
		WriteMode:       string(data.Write), ReadPolicy: string(data.Read),
		AppProcesses: len(in.Topology.Of(topology.Web)) + len(in.Topology.Of(topology.API)),
		MaxOpenConns: in.SizesOf(i).DBConnections,
	}
	if data.Balance != nil {
		conf.ReadDSNFile = path.Join(place.Dir, ReadsDSNFile)
	}
	for _, db := range in.Topology.Of(topology.DB) {
		conf.Databases = append(conf.Databases, appDatabase{Name: db.Name, DSNFile: path.Join(place.Dir, DSNFile(db.Name))})
	}
	for _, g := range data.Groups {
		conf.Groups = append(conf.Groups, appGroup{g.Name, g.Tables, g.Databases})
	}
	text, err := yaml.Marshal(conf)
	if err != nil {
		return nil, err
	}
	return []File{{Path: path.Join(place.Dir, AppConf), Mode: 0o644, Data: text}}, nil
}

// BalanceAddress is where an app reads from: the nginx that balances, or the first database, since the kernel rewrites what is sent there.
func (in Input) BalanceAddress() string {
	b := in.Topology.Data.Balance
	if b == nil {
		return ""
	}
	address := in.Places[b.Databases[0]].Address
	if b.Kind == topology.BalanceNginx {
		for _, i := range in.Topology.On(b.Host) {
			address = in.Places[i.Name].Address
		}
	}
	return net.JoinHostPort(address, strconv.Itoa(in.balancePort(b)))
}

// Static lists the files of a front page by name; dir is their place on the proxy's host. An index.html is also its directory.
func Static(files fs.FS, dir string) ([]StaticFile, error) {
	var list []StaticFile
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		f := StaticFile{
			URLPath: "/" + name, File: path.Join(dir, name), SizeBytes: int64(len(data)),
			ContentType: contentType(name), ETag: fmt.Sprintf(`"%x"`, sum[:8]),
		}
		list = append(list, f)
		if base, ok := strings.CutSuffix(f.URLPath, "index.html"); ok {
			f.URLPath = base
			list = append(list, f)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the front page: %w", err)
	}
	return list, nil
}

func contentType(name string) string {
	// The types that differ between systems' own lists are settled here.
	switch path.Ext(name) {
	case ".html":
		return "text/html"
	case ".js":
		return "text/javascript"
	case ".ico":
		return "image/x-icon"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}
