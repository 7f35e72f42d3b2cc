package infra

import (
	"bytes"
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"isukit"
	"isukit/infra/host"
	"isukit/infra/pki"
	"isukit/infra/plan"
	"isukit/infra/render"
	"isukit/infra/topology"
)

// appPath is where the app's binary is on a host. Another build is another file, so that the running one can be restored.
func appPath(h host.Host, g *deployment) string {
	return path.Join(h.About().Dir, "bin", appName+g.App[:12])
}

// appName begins the name of the app's binary on a host.
const appName = "isukit-app-"

// binary is the app that a deployment is about: a new deployment takes the one that the Spec names, an old one has its own on the hosts.
func (s *Site) binary(ctx context.Context, g *deployment, f *hostSet) ([]byte, error) {
	text, err := os.ReadFile(s.spec.AppBinary)
	if err != nil && g.App == "" {
		return nil, host.Hinted(fmt.Errorf("the app's binary: %w", err), "make build")
	}
	hash := plan.Hash(text)
	if g.App = cmp.Or(g.App, hash); err == nil && hash == g.App {
		return text, nil
	}
	for _, name := range f.names() {
		if f.away[name] != nil {
			continue
		}
		if text, err := f.hosts[name].Get(ctx, appPath(f.hosts[name], g)); err == nil {
			return text, nil
		}
	}
	return nil, fmt.Errorf("the app that topology %s was applied with is on no host any more", g.Topology.Name)
}

// architectures are those of Go by ELF's.
var architectures = map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_RISCV: "riscv64", elf.EM_386: "386", elf.EM_ARM: "arm"}

// runsOn refuses an app that was built for another architecture than a host's.
func runsOn(binary []byte, about host.About) error {
	made := ""
	if f, err := elf.NewFile(bytes.NewReader(binary)); err == nil {
		made = "linux/" + architectures[f.Machine]
	} else if bytes.HasPrefix(binary, []byte("\xcf\xfa\xed\xfe")) {
		made = "darwin"
	}
	if about.Arch == "" || made == "" || made == "linux/"+about.Arch { // what is neither may be a script
		return nil
	}
	app := "isukit-app-linux-" + about.Arch
	return host.Hinted(fmt.Errorf("the app's binary is for %s, and host %s is linux/%s", made, about.Name, about.Arch),
		fmt.Sprintf("build one for it, and name it: CGO_ENABLED=0 GOOS=linux GOARCH=%s go build -o %s ./cmd/isukit-app, then --app %s", about.Arch, app, app))
}

func (l *layout) apps() error {
	t := l.Topology
	for name, h := range l.hosts {
		if slices.ContainsFunc(t.On(name), func(i topology.Instance) bool { return i.Role == topology.Web || i.Role == topology.API }) {
			if err := runsOn(l.binary, h.About()); err != nil {
				return err
			}
			l.file(name, "", appPath(h, l.deployment), l.binary, 0o755)
		}
	}
	for _, i := range append(t.Of(topology.API), t.Of(topology.Web)...) {
		if err := l.rendered(i); err != nil {
			return err
		}
		dir := l.input.Places[i.Name].Dir
		secret := map[string]string{render.SessionKeyFile: l.secrets.SessionKey, render.WorkerTokenFile: l.secrets.WorkerToken}
		for _, db := range t.Of(topology.DB) {
			secret[render.DSNFile(db.Name)] = l.dsn(l.input.Places[db.Name].HostPort())
		}
		if a := l.input.BalanceAddress(); a != "" {
			secret[render.ReadsDSNFile] = l.dsn(a)
		}
		for _, name := range sortedKeys(secret) {
			l.file(i.Host, i.Name, path.Join(dir, name), []byte(secret[name]+"\n"), 0o600)
		}
		sizes := l.input.SizesOf(i)
		l.service(i.Host, host.Service{
			Name: i.Name, Dir: dir, LogFile: path.Join(dir, outputLog), Argv: []string{appPath(l.hosts[i.Host], l.deployment), "--config", path.Join(dir, render.AppConf)},
			Env: []string{fmt.Sprintf("GOMAXPROCS=%d", sizes.GOMAXPROCS)}, NoFile: sizes.Files,
		})
	}
	return nil
}

func (l *layout) proxies() error {
	page, err := fs.Sub(isukit.Assets, "nginx/static")
	if err != nil {
		return err
	}
	for _, i := range l.Topology.Of(topology.Proxy) {
		place := l.input.Places[i.Name]
		l.input.StaticDir = path.Join(place.Dir, "static")
		if l.input.Static, err = render.Static(page, l.input.StaticDir); err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, f := range l.input.Static {
			data, err := fs.ReadFile(page, strings.TrimPrefix(f.File, l.input.StaticDir+"/"))
			if err != nil {
				return err
			}
			if !seen[f.File] {
				l.file(i.Host, i.Name, f.File, data, 0o644)
			}
			seen[f.File] = true
		}
		if err := l.rendered(i); err != nil {
			return err
		}
		if err := l.certificate(i); err != nil {
			return err
		}
		if err := l.proxyService(i); err != nil {
			return err
		}
	}
	return nil
}

func (l *layout) proxyService(i topology.Instance) error {
	dir, sizes := l.input.Places[i.Name].Dir, l.input.SizesOf(i)
	program, err := l.program(i.Host, i.Kind)
	if err != nil {
		return err
	}
	service := host.Service{Name: i.Name, Dir: dir, LogFile: path.Join(dir, outputLog), NoFile: sizes.Files}
	if i.Kind == topology.Envoy {
		service.Argv = []string{program, "-c", path.Join(dir, render.EnvoyConf), "--disable-hot-restart", "--log-level", "warn", "--concurrency", fmt.Sprint(sizes.Workers)}
		l.service(i.Host, service)
		return nil
	}
	// nginx does not make the directory above those of bodies that it buffers.
	l.file(i.Host, i.Name, path.Join(dir, "tmp", "README"), []byte("bodies that nginx buffers\n"), 0o600)
	service.Argv, service.StopSignal = []string{program, "-p", dir, "-c", path.Join(dir, render.NginxConf)}, syscall.SIGQUIT
	if t, asked := l.tools[i.Host]; !asked || t.programs["nginx-e"] != "" { // it has an option for its log before it reads its configuration
		service.Argv = append(service.Argv, "-e", path.Join(dir, errorLog))
	}
	l.service(i.Host, service)
	return nil
}

// certificate gives a proxy a certificate of the state directory's authority; it stays the same as long as the proxy's address.
func (l *layout) certificate(i topology.Instance) error {
	if !i.TLS {
		return nil
	}
	place := l.input.Places[i.Name]
	now := time.Now()
	ca, err := keptPair(filepath.Join(l.spec.StateDir, "pki", "authority"), func() (pki.Pair, error) { return pki.NewAuthority(now) })
	if err != nil {
		return err
	}
	l.ca = ca
	name := strings.NewReplacer(":", "-", "/", "-").Replace(place.Address)
	pair, err := keptPair(filepath.Join(l.spec.StateDir, "pki", name), func() (pki.Pair, error) { return ca.Issue(now, place.Address) })
	if err != nil {
		return err
	}
	l.file(i.Host, i.Name, path.Join(place.Dir, render.TLSCertFile), pair.Certificate, 0o644)
	l.file(i.Host, i.Name, path.Join(place.Dir, render.TLSKeyFile), pair.Key, 0o600)
	return nil
}

// keptPair reads a certificate and its key from base.crt and base.key, and makes them where they are not there.
func keptPair(base string, make func() (pki.Pair, error)) (pki.Pair, error) {
	cert, errCert := os.ReadFile(base + ".crt")
	key, errKey := os.ReadFile(base + ".key")
	if errCert == nil && errKey == nil {
		return pki.Pair{Certificate: cert, Key: key}, nil
	}
	if err := errors.Join(errCert, errKey); !errors.Is(err, fs.ErrNotExist) {
		return pki.Pair{}, fmt.Errorf("read certificates: %w", err)
	}
	pair, err := make()
	if err != nil {
		return pki.Pair{}, err
	}
	if err := os.MkdirAll(filepath.Dir(base), 0o700); err != nil {
		return pki.Pair{}, fmt.Errorf("keep certificates: %w", err)
	}
	// The certificate comes last: while it is missing, both are made again.
	if err := renameio.WriteFile(base+".key", pair.Key, 0o600); err != nil {
		return pki.Pair{}, fmt.Errorf("keep certificates: %w", err)
	}
	if err := renameio.WriteFile(base+".crt", pair.Certificate, 0o644); err != nil {
		return pki.Pair{}, fmt.Errorf("keep certificates: %w", err)
	}
	return pair, nil
}

// databaseService is one whose command depends on its data directory, once that is written.
func databaseService(name, dir string, argv []string, s topology.Sizes) host.Service {
	return host.Service{Name: name, Dir: dir, LogFile: path.Join(dir, outputLog), Argv: argv, NoFile: s.Files}
}
