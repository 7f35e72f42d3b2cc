package infra

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/plan"
	"isukit/infra/render"
	"isukit/infra/topology"
)

// tools are what a host that is not this machine has.
type tools struct {
	install  dbserver.Install // of a database's host
	programs map[string]bool
	stream   string // the module's path; "built in" or ""
	maxFiles int    // that a program may open; 0 where the host does not say
}

// farMaxFiles is how many files a unit of systemd may let a program open where the host does not say: fs.nr_open, as it comes.
const farMaxFiles = 1 << 20

// filesOf is the least of what the hosts let a program open.
func (l *layout) filesOf() int {
	files := farMaxFiles
	for _, t := range l.far {
		if t.maxFiles > 0 {
			files = min(files, t.maxFiles)
		}
	}
	return files
}

// toolsScript tells which proxies there are, and where nginx has its module stream.
const toolsScript = `for name in nginx envoy; do command -v "$name" >/dev/null && echo "$name"; done
case " $(nginx -V 2>&1) " in
*" --with-stream "*) echo 'stream=built in' ;;
*) for file in ` + streamModules + `; do [ -e "$file" ] && echo "stream=$file"; done ;;
esac
# What systemd itself may open, it may let others open.
sed -n 's/^Max open files  *[0-9a-z]*  *\([0-9][0-9]*\) .*/files=\1/p' /proc/1/limits
true
`

// findServers finds the database servers that a topology asks for, and what else hosts have that are not this machine.
func (l *layout) findServers(ctx context.Context) (err error) {
	t := l.goal.Topology
	engine := dbserver.Engine(t.Of(topology.DB)[0].Kind)
	if l.driver != "ssh" {
		if l.install, err = findServer(ctx, t, l.spec.LocalDir); err != nil {
			return err
		}
		l.goal.Topology, err = t.WithKind(topology.DB, topology.Kind(l.install.Engine))
		return err
	}
	var known []string
	for _, name := range sortedKeys(l.hosts) {
		if p, ok := l.hosts[name].(planned); !ok || p.Host != nil {
			known = append(known, name)
		}
	}
	unknown := len(known) < len(l.hosts) // they were not asked yet: they are taken to have everything
	if err := l.askTools(ctx, engine, known...); err != nil {
		return err
	}
	for _, name := range known {
		in := l.far[name].install
		if l.install.Engine == "" {
			l.install = in
		}
		if in.Engine != l.install.Engine && in.Engine != "" { // one engine on all hosts
			if err := l.askTools(ctx, l.install.Engine, name); err != nil {
				return err
			}
		}
	}
	if l.install.Engine == "" {
		l.install.Engine = engine
		if engine == dbserver.Auto || engine == "" {
			l.install.Engine = dbserver.MariaDB
		}
	}
	if unknown {
		goal := *l.goal // what is only supposed must not stay
		l.goal = &goal
	}
	l.goal.Topology, err = t.WithKind(topology.DB, topology.Kind(l.install.Engine))
	return err
}

// askTools asks hosts what they have, all at once.
func (l *layout) askTools(ctx context.Context, engine dbserver.Engine, names ...string) error {
	all := make([]tools, len(names))
	group, ctx := errgroup.WithContext(ctx)
	for n, name := range names {
		group.Go(func() (err error) {
			all[n].programs, all[n].stream, all[n].maxFiles, err = askPrograms(ctx, l.hosts[name])
			return err
		})
		group.Go(func() (err error) {
			all[n].install, err = askServer(ctx, l.hosts[name], l.goal.Topology, engine)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for n, name := range names {
		l.far[name] = all[n]
	}
	return nil
}

func askPrograms(ctx context.Context, h host.Host) (programs map[string]bool, stream string, maxFiles int, err error) {
	res, err := h.Run(ctx, host.Command{Argv: []string{"sh", "-c", toolsScript}})
	if err != nil {
		return nil, "", 0, err
	}
	programs = map[string]bool{}
	for line := range strings.Lines(string(res.Stdout)) {
		line = strings.TrimSuffix(line, "\n")
		switch key, value, _ := strings.Cut(line, "="); key {
		case "stream":
			stream = value
		case "files":
			maxFiles, _ = strconv.Atoi(value)
		default:
			programs[line] = true
		}
	}
	return programs, stream, maxFiles, nil
}

// askServer looks for a database server on a host that is to have one.
func askServer(ctx context.Context, h host.Host, t *topology.Topology, engine dbserver.Engine) (dbserver.Install, error) {
	if !slices.ContainsFunc(t.On(h.About().Name), func(i topology.Instance) bool { return i.Role == topology.DB }) {
		return dbserver.Install{}, nil
	}
	in, err := dbserver.FindOn(ctx, h, engine)
	if errors.Is(err, dbserver.ErrNotFound) {
		return in, &HintError{err, "install it there: isukit hosts init --tool mariadb-server " + hostTarget(t, h)}
	}
	return in, err
}

func hostTarget(t *topology.Topology, h host.Host) string {
	if d, ok := t.Host(h.About().Name); ok && d.Address != "" {
		return d.Address
	}
	return h.About().Name
}

func (t tools) streamModule(hostName string) (string, error) {
	switch t.stream {
	case "built in":
		return "", nil
	case "":
		return "", &HintError{fmt.Errorf("nginx on host %s has no module stream", hostName), "apt-get install libnginx-mod-stream there"}
	}
	return t.stream, nil
}

// installOn is the database server of a host.
func (l *layout) installOn(hostName string) dbserver.Install {
	if t, ok := l.far[hostName]; ok && t.install.Engine != "" {
		return t.install
	}
	return l.install
}

// program finds a proxy's program: on another host by its name.
func (l *layout) program(hostName, name, inLocalDir, hint string) (string, error) {
	if l.driver != "ssh" {
		return l.spec.findProgram(name, inLocalDir, hint)
	}
	if t, ok := l.far[hostName]; ok && !t.programs[name] {
		return "", &HintError{fmt.Errorf("%s is not installed on host %s", name, hostName), "install it there: isukit hosts init --tool " + name + " " + hostTarget(l.goal.Topology, l.hosts[hostName])}
	}
	return name, nil
}

// findAll is find for an apply: hosts that are there without isukit are asked first, since they may hold what somebody with
// another state directory has made.
func (s *Site) findAll(ctx context.Context) (*found, error) {
	if s.driver.Name() != "ssh" {
		return s.find(ctx)
	}
	if err := s.driver.Ensure(ctx, s.wants(s.spec.Topology)); err != nil {
		return nil, err
	}
	f, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	g, _ := f.current()
	var more []host.Want
	if g != nil {
		for _, w := range s.wants(g.Topology) {
			if f.hosts[w.Name] == nil {
				more = append(more, w)
			}
		}
	}
	if len(more) > 0 {
		if err := s.driver.Ensure(ctx, more); err != nil {
			return nil, fmt.Errorf("the hosts of topology %s, which is up: %w", g.Topology.Name, err)
		}
		f, err = s.find(ctx)
	}
	if err == nil {
		f.ensured = true
	}
	return f, err
}

// dial connects to what listens on the site's hosts: to those that are not this machine through the hosts themselves, since what
// listens there may be for them alone.
func (l *layout) dial(driver host.Driver) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		name, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		for _, h := range l.hosts {
			if d, ok := h.(host.Dialer); ok && h.About().Address == name {
				return d.Dial(ctx, network, address)
			}
		}
		return driver.Dial(ctx, network, address)
	}
}

// createFar lays a database down on a host that is not this machine: as a copy of another, or empty, for the app to fill.
func (e *execution) createFar(ctx context.Context, s *server, cfg dbserver.Config, from *source, contents string) error {
	var fill dbserver.Fill
	if from != nil {
		src := path.Join(e.f.hosts[from.host].About().Dir, from.instance, "data")
		fill = func(ctx context.Context, dir string) error {
			return copyFar(ctx, e.f.hosts[from.host], src, s.host, dir)
		}
	}
	inst, err := dbserver.CreateOn(ctx, s.host, cfg, fill)
	if err != nil {
		return err
	}
	s.Instance, s.prepare = inst, from == nil
	if s.prepare {
		return nil // its data is whole when the app has filled it
	}
	return s.host.Put(ctx, path.Join(cfg.Dir, readyFile), []byte(contents+"\n"), 0o600)
}

// copyFar copies a directory from one host to another, through here.
func copyFar(ctx context.Context, from host.Host, src string, to host.Host, dst string) error {
	if from.About().Name == to.About().Name {
		return runOn(ctx, to, host.Command{Argv: []string{"cp", "-a", src, dst}})
	}
	reader, ok := from.(host.Piper)
	writer, okTo := to.(host.Piper)
	if !ok || !okTo {
		return fmt.Errorf("copy %s to %s: %w", src, to.About().Name, host.ErrUnsupported)
	}
	if err := runOn(ctx, to, host.Command{Argv: []string{"mkdir", "-m", "700", dst}}); err != nil {
		return err
	}
	r, w := io.Pipe()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := reader.Pipe(ctx, host.Command{Argv: []string{"tar", "-C", src, "-cSf", "-", "."}}, nil, w)
		w.CloseWithError(err)
		return err
	})
	group.Go(func() error {
		err := writer.Pipe(ctx, host.Command{Argv: []string{"tar", "-C", dst, "-xSf", "-"}}, r, io.Discard)
		r.CloseWithError(err)
		return err
	})
	return group.Wait()
}

// prepareFar has the app make the dataset's tables in a database that runs on another host.
func (e *execution) prepareFar(ctx context.Context, s *server) error {
	e.site.spec.progress("preparing the dataset %s, seed %d, on %s", e.l.goal.Scale, e.l.goal.Seed, s.declared.Host)
	ctx, cancel := context.WithTimeout(ctx, prepareLimit)
	defer cancel()
	dir := path.Join(s.Dir, "prepare")
	in := e.l.input
	in.Topology, in.Places = in.Topology.FirstOf(topology.DB), map[string]render.Place{}
	in.Topology.Data = topology.Data{}
	for name, place := range e.l.input.Places {
		place.Dir = dir
		in.Places[name] = place
	}
	files, err := render.Files(in, in.Topology.Of(topology.Web)[0].Host)
	if err != nil {
		return err
	}
	app, conf := path.Join(dir, "isukit-app"), path.Join(dir, render.AppConf)
	for _, f := range files {
		if f.Path == conf {
			if err := s.host.Put(ctx, conf, f.Data, f.Mode); err != nil {
				return err
			}
		}
	}
	dsn := e.l.appDSN(e.l.input.Places[s.declared.Name].Address, s.Port) + "\n"
	if err := errors.Join(s.host.Put(ctx, path.Join(dir, render.DSNFile(in.Topology.Of(topology.DB)[0].Name)), []byte(dsn), 0o600),
		s.host.Put(ctx, app, e.l.binary, 0o755)); err != nil {
		return err
	}
	if err := runOn(ctx, s.host, host.Command{Argv: []string{app, "--config", conf, "prepare"}}); err != nil {
		return err
	}
	return errors.Join(s.host.Remove(ctx, dir), s.host.Put(ctx, path.Join(s.Dir, readyFile), []byte(e.l.contents(s.declared.Name)+"\n"), 0o600))
}

// farLook is what a host that is not this machine was asked at once: each question takes a round trip, and the app's binary is
// too much to be fetched each time. nil is for a host that is this machine.
type farLook struct {
	hashes map[string]string // of files that are there
	ready  map[string]string // what the data of databases is
	states map[string]host.State
}

// lookScript prints the hashes of those of the files in its input, one a line, that are there; of those after an empty line,
// their first lines.
const lookScript = `while read -r file && [ -n "$file" ]; do [ ! -e "$file" ] || sha256sum -- "$file" || exit 1; done
while read -r file; do [ ! -e "$file" ] || printf 'ready %s %s\n' "$(head -n 1 -- "$file")" "$file" || exit 1; done`

func lookFar(ctx context.Context, h host.Host, items []plan.Item) (*farLook, error) {
	lister, ok := h.(host.Lister)
	if !ok || h.About().Here {
		return nil, nil
	}
	var files, data strings.Builder
	for _, i := range items {
		switch i.Kind {
		case plan.File:
			files.WriteString(i.Name + "\n")
		case plan.Data:
			data.WriteString(path.Join(h.About().Dir, i.Name, readyFile) + "\n")
		}
	}
	far := &farLook{hashes: map[string]string{}, ready: map[string]string{}}
	var res host.Result
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		res, err = h.Run(ctx, host.Command{Argv: []string{"sh", "-c", lookScript}, Stdin: []byte(files.String() + "\n" + data.String())})
		if err == nil && res.Code != 0 {
			err = fmt.Errorf("exit status %d: %s", res.Code, tailOf(res.Stderr))
		}
		if err != nil {
			err = fmt.Errorf("look at files on %s: %w", h.About().Name, err)
		}
		return err
	})
	group.Go(func() (err error) {
		far.states, err = lister.States(ctx)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(res.Stdout)) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "ready "); ok {
			end := strings.LastIndexByte(rest, ' ') // isukit's directories have none in their names
			far.ready[path.Base(path.Dir(rest[end+1:]))] = strings.TrimSpace(rest[:end])
			continue
		}
		hash, name, _ := strings.Cut(line, "  ")
		far.hashes[name] = hash
	}
	return far, nil
}

// actual is what was found of an item; a file that is not what was made has to be looked at itself.
func (f *farLook) actual(i plan.Item) (a plan.Actual, ok bool) {
	if f == nil {
		return a, false
	}
	a.Item = plan.Item{Kind: i.Kind, Name: i.Name, Owner: i.Owner}
	switch i.Kind {
	case plan.File:
		a.Hash, a.Exists = f.hashes[i.Name], f.hashes[i.Name] != ""
		return a, !a.Exists || a.Hash == i.Hash
	case plan.Data:
		a.Hash, a.Exists = f.ready[i.Name], f.ready[i.Name] != ""
		return a, true
	case plan.Service:
		var st host.State
		if st, a.Exists = f.states[i.Name]; a.Exists {
			a.Hash, a.Running, a.Exit = st.Stamp, st.Running, st.Exit
		}
		return a, true
	}
	return a, false
}

// pause is how long to wait between two questions to a host: those to another machine are a process here and one there.
func pause(h host.Host, here time.Duration) time.Duration {
	if h.About().Here {
		return here
	}
	return 10 * here
}

// tailOn is the end of an instance's log. The error is fs.ErrNotExist where there is none.
func (r *Running) tailOn(ctx context.Context, i Instance, name string, limit int64) ([]byte, error) {
	file := filepath.Join(i.Dir, name)
	h, far := r.at(i.Host).(host.Piper)
	if !far {
		return readTail(file, limit)
	}
	var out bytes.Buffer
	err := h.Pipe(ctx, host.Command{Argv: []string{"sh", "-c", `[ ! -e "$0" ] || exec tail -c "$1" "$0"`, file, fmt.Sprint(limit)}}, nil, &out)
	if err == nil && out.Len() == 0 {
		err = os.ErrNotExist
	}
	return out.Bytes(), err
}
