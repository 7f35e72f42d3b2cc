package fanouttest

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
)

// world is a random schema on some replicas, and clients that send it random statements. Its seed says everything.
type world struct {
	seed     uint64
	engine   string
	mode     fanout.Mode
	replicas int
	clients  int
	pools    int  // processes of the app, as it were
	leaves   bool // the first replica is taken out of service before the last round, and admitted after it
	pure     bool // one client, and nothing that depends on the moment: a plain server must give the same
	schema   *genSchema
	lacks    string // the rule that the pools do without
	changes  bool   // statements that change the schema are made often
	loose    bool   // most statements are in transactions for which the app asks for READ COMMITTED
}

// shapes are what worlds take turns with.
var shapes = func() (list []world) {
	for _, clients := range []int{1, 8} {
		for _, replicas := range []int{2, 3} {
			for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable, fanout.ModeKeyed} {
				for _, engine := range []string{"mariadb", "mysql"} {
					list = append(list, world{engine: engine, mode: mode, replicas: replicas, clients: clients})
				}
			}
		}
	}
	return list
}()

func worldOf(seed uint64) world {
	w := shapes[seed%uint64(len(shapes))]
	r := rand.New(rand.NewPCG(seed, 0))
	w.seed, w.pools = seed, 1
	w.pure = w.clients == 1 && r.IntN(2) == 0
	if w.clients > 1 && w.mode != fanout.ModeKeyed && r.IntN(2) == 0 {
		w.pools = 2
	}
	w.leaves = w.replicas > 2 && w.clients > 1 && r.IntN(4) == 0
	w.schema = genSchemaOf(r, w.engine, w.pure)
	w.leaves = w.leaves && !slices.ContainsFunc(w.schema.tables, func(t *genTable) bool { return len(t.after) > 0 || len(t.key) == 0 }) // which Admit refuses
	w.loose = r.IntN(6) == 0 || os.Getenv("ISUKIT_STATEMENTS_LOOSE") != ""
	return w
}

func (w world) String() string {
	return fmt.Sprintf("seed %d: %s, mode %s, %d replicas, %d clients, %d pools", w.seed, w.engine, w.mode, w.replicas, w.clients, w.pools)
}

// statementCounts are how many statements were accepted, refused and failed, and why.
type statementCounts struct {
	mu       sync.Mutex
	accepted map[string]int // by engine and mode
	others   map[string]int // by what was said of them
	example  map[string]string
}

func newStatementCounts() *statementCounts {
	return &statementCounts{accepted: map[string]int{}, others: map[string]int{}, example: map[string]string{}}
}

func (n *statementCounts) total() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	sum := 0
	for _, k := range n.accepted {
		sum += k
	}
	return sum
}

func (n *statementCounts) add(w world, u genUnit, results []stepResult) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, r := range results {
		v := verdictOf(r.err)
		if v == "" && strings.HasPrefix(u.Steps[i].Text, "SELECT") {
			n.others["reads"]++
			continue
		}
		if v == "" {
			n.accepted[w.engine+" "+string(w.mode)]++
			continue
		}
		n.others[v]++
		if n.example[v] == "" {
			n.example[v] = fmt.Sprintf("%v: %v", u.Steps[i], r.err)
		}
	}
}

func (n *statementCounts) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(n.accepted)) {
		fmt.Fprintf(&b, "%d accepted, %s\n", n.accepted[k], k)
	}
	for _, k := range slices.Sorted(maps.Keys(n.others)) {
		fmt.Fprintf(&b, "%d %s, such as %.300s\n", n.others[k], k, n.example[k])
	}
	return b.String()
}

// played are databases of a world, and the pools on them.
type played struct {
	world
	c     *cluster
	plain *sqlx.DB // for pure worlds: a database that no pool writes to, on the first server
	pools []*fanout.Pool
	twin  *cluster // of plain

	ejected int64 // replicas that were taken out by hand
}

var playedNames struct {
	sync.Mutex
	n int
}

// start makes the databases of w. What it returns is to be ended.
func (w world) start(tb testing.TB, servers []*infratest.DB) (*played, error) {
	playedNames.Lock()
	playedNames.n++
	name := fmt.Sprint("play", playedNames.n)
	playedNames.Unlock()
	p := &played{world: w, c: newCluster(tb, w.engine, name, servers[:w.replicas])}
	for i := range p.c.dbs {
		if err := makeTables(p.c, i, w.schema); err != nil {
			p.end(tb)
			return nil, err
		}
	}
	if w.pure {
		p.twin = newCluster(tb, w.engine, name+"twin", servers[:1])
		err := makeTables(p.twin, 0, w.schema)
		if err == nil {
			p.plain, err = p.twin.raw(0)
		}
		if err != nil {
			p.end(tb)
			return nil, err
		}
	}
	for range w.pools {
		cfg := p.c.config(w.mode)
		cfg.WithoutRule = w.lacks
		cfg.ProbeTimeout, cfg.WriteTimeout = 20*time.Second, 20*time.Minute // a busy machine is not a dead server
		pool, err := fanout.Open(tb.Context(), cfg)
		if err != nil {
			p.end(tb)
			return nil, fmt.Errorf("open: %w", err)
		}
		p.pools = append(p.pools, pool)
	}
	return p, nil
}

func makeTables(c *cluster, i int, s *genSchema) error {
	db, err := c.raw(i)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, text := range s.statements() {
		if _, err := db.Exec(text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

func (p *played) end(tb testing.TB) {
	for _, pool := range p.pools {
		pool.Close()
	}
	if p.plain != nil {
		p.plain.Close()
	}
	for _, c := range []*cluster{p.c, p.twin} {
		if c == nil {
			continue
		}
		for _, db := range c.dbs {
			db.Exec(tb, "DROP DATABASE "+c.name)
		}
	}
}

// ctx names the tables of u as its keys, mostly, and bounds it.
func (p *played) ctx(ctx context.Context, u genUnit) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	if p.mode != fanout.ModeKeyed || len(u.Steps)%4 == 3 {
		return ctx, cancel
	}
	var keys []string
	for _, t := range p.schema.tables {
		for _, s := range u.Steps {
			if strings.Contains(s.Text, t.name) || strings.Contains(s.Text, "shorten") {
				keys = append(keys, t.name)
			}
		}
		if t.parent != nil {
			keys = append(keys, "t0", t.name) // rows of the one change those of the other
		}
	}
	return fanout.WithKeys(ctx, keys...), cancel
}

// one runs u by a pool, and, in a pure world, on the plain server. What is wrong with it is returned.
func (p *played) one(ctx context.Context, pool *fanout.Pool, u genUnit, n *statementCounts) (what string) {
	defer func() {
		if r := recover(); r != nil { // so that it is reduced like any other fault
			lines := strings.Split(string(debug.Stack()), "\n")
			what = fmt.Sprintf("panic: %v\n%s", r, strings.Join(lines[min(len(lines), 9):min(len(lines), 19)], "\n"))
		}
	}()
	kctx, cancel := p.ctx(ctx, u)
	defer cancel()
	results, end := u.run(kctx, pool.DB(), nil)
	if n != nil {
		n.add(p.world, u, results)
	}
	for i, r := range results {
		if v := verdictOf(r.err); strings.HasPrefix(v, "fault") && u.Cancel == 0 {
			return fmt.Sprintf("%v: %s", u.Steps[i], v)
		}
	}
	if v := verdictOf(end); strings.HasPrefix(v, "fault") && u.Cancel == 0 {
		return "the end of the transaction: " + v
	}
	if !p.pure {
		return ""
	}
	if declined(end) {
		return p.align(ctx, u, append(results, stepResult{err: end}))
	}
	skip := func(i int) bool { return i >= len(results) || declined(results[i].err) }
	want, wantEnd := u.run(ctx, p.plain, skip)
	for i := range min(len(want), len(results)) {
		if skip(i) || strings.HasPrefix(u.Steps[i].Text, "SELECT LAST_INSERT_ID") && (i == 0 || !numbers(u.Steps[i-1], results[i-1])) {
			continue // what it asks about was on whichever connection
		}
		a, b := results[i], want[i]
		if isInsertSelect(u.Steps[i].Text) { // the rows arrive in another form, of which the server tells an id that was given
			a.seen, _, _ = strings.Cut(a.seen, ", id")
			b.seen, _, _ = strings.Cut(b.seen, ", id")
		}
		if verdictOf(a.err) != verdictOf(b.err) || a.seen != b.seen {
			return fmt.Sprintf("%v: got %s %v; a plain server gives %s %v", u.Steps[i], a.seen, a.err, b.seen, b.err)
		}
	}
	if verdictOf(end) != verdictOf(wantEnd) {
		return fmt.Sprintf("the end of the transaction: got %v; a plain server gives %v", end, wantEnd)
	}
	return p.align(ctx, u, results)
}

// declined reports whether a statement is not to be run on the plain server: it was refused, or it is an upsert of rows that
// arrive in another form, for which the servers keep other ids in reserve (1869).
func declined(err error) bool { return verdictOf(err) == "refused" || verdictOf(err) == "1869" }

// numbers reports whether a statement made the server number a row.
func numbers(s genStep, r stepResult) bool {
	return r.err == nil && (strings.Contains(s.Text, "INSERT") || strings.Contains(s.Text, "REPLACE")) && !strings.Contains(s.Text, "(id") && !strings.HasSuffix(r.seen, "id 0")
}

func isInsertSelect(text string) bool {
	_, rest, _ := strings.Cut(text, ") SELECT ")
	return rest != ""
}

// align gives the plain server the first replica's next ids, where a statement may have taken others: one that was refused after it
// had been tried, or whose rows a query gave.
func (p *played) align(ctx context.Context, u genUnit, results []stepResult) string {
	if !slices.ContainsFunc(results, func(r stepResult) bool { return declined(r.err) }) &&
		!slices.ContainsFunc(u.Steps, func(s genStep) bool { return strings.Contains(s.Text, "SELECT") }) {
		return ""
	}
	first, err := p.c.raw(0)
	if err != nil {
		return err.Error()
	}
	defer first.Close()
	for _, t := range p.schema.tables {
		if t.auto == nil {
			continue
		}
		var name, ddl string
		if err := first.QueryRowContext(ctx, "SHOW CREATE TABLE "+t.name).Scan(&name, &ddl); err != nil {
			return err.Error()
		}
		if m := nextIDs.FindStringSubmatch(ddl); m != nil {
			if _, err := p.plain.ExecContext(ctx, "ALTER TABLE "+t.name+" AUTO_INCREMENT = "+m[1]); err != nil {
				return err.Error()
			}
		}
	}
	return ""
}

var nextIDs = regexp.MustCompile(`(?m)^\).* AUTO_INCREMENT=(\d+)`)

// compare returns how the replicas differ, from one another and from the plain server.
func (p *played) compare(tb testing.TB) string {
	for i, pool := range p.pools {
		if n := pool.Metrics().Ejections; n > p.ejected || i > 0 && n > 0 {
			status, _ := pool.Status(context.Background())
			var why []string
			for _, r := range status.Replicas {
				why = append(why, fmt.Sprintf("%s %s %s", r.Name, r.State, r.Reason))
			}
			return "a healthy replica was ejected: " + strings.Join(why, "; ") + "\n" + p.c.differ(tb, 0)
		}
	}
	first := 0
	if p.leaves && p.ejected > 0 {
		first = 1
	}
	if d := p.c.differ(tb, first); d != "" || !p.pure || first > 0 {
		return d
	}
	ctx := context.Background()
	ours, err := p.c.dump(ctx, 0)
	if err != nil {
		return err.Error()
	}
	plain, err := p.twin.dump(ctx, 0)
	if err != nil {
		return err.Error()
	}
	return difference("r1", ours, "a plain server", plain)
}

// play runs w for some rounds of so many units a client and compares after each. It returns what went wrong, and the units
// that were run, in the order in which they ended.
func (w world) play(tb testing.TB, servers []*infratest.DB, rounds, units int, n *statementCounts) (fault string, done []sent) {
	p, err := w.start(tb, servers)
	if err != nil {
		return "not started: " + err.Error(), nil
	}
	defer p.end(tb)
	var mu sync.Mutex
	changes := 0
	switch {
	case w.changes:
		changes = 3
	case w.clients == 1:
		changes = 60
	}
	grammars := make([]*grammar, w.clients)
	for i := range grammars {
		grammars[i] = &grammar{genSchema: w.schema, r: rand.New(rand.NewPCG(w.seed, uint64(i)+1)), ddl: changes, loose: w.loose, cancels: w.clients > 1 && !w.schema.fires(), without: os.Getenv("ISUKIT_STATEMENTS_WITHOUT")}
	}
	for round := range rounds {
		var wg sync.WaitGroup
		for i, g := range grammars {
			wg.Go(func() {
				for range units {
					u := g.unit()
					pool := p.pools[i%len(p.pools)]
					what := p.one(context.Background(), pool, u, n)
					if what == "" && pool.Metrics().Ejections > p.ejected {
						what = "a replica was ejected during, or about the time of:\n" + u.String()
					}
					mu.Lock()
					done = append(done, sent{u, i})
					if what != "" && fault == "" {
						fault = what
					}
					stop := fault != ""
					mu.Unlock()
					if stop {
						return
					}
				}
			})
		}
		wg.Wait()
		if d := p.compare(tb); d != "" {
			return strings.Trim(fault+"\n"+d, "\n"), done
		}
		if fault != "" {
			return fault, done
		}
		if p.leaves && round == rounds-2 {
			if err := p.pools[0].Eject(tb.Context(), "r1", "by the test"); err != nil {
				return "eject r1: " + err.Error(), done
			}
			p.ejected = 1
		}
	}
	if p.ejected > 0 {
		return p.readmit(tb), done
	}
	return "", done
}

// readmit brings the first replica back and compares all.
func (p *played) readmit(tb testing.TB) string {
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	if _, err := p.pools[0].Admit(ctx, "r1"); err != nil {
		return "admit r1: " + err.Error()
	}
	return p.c.differ(tb, 0)
}

// sent is a unit and the client that sent it.
type sent struct {
	genUnit
	client int
}

// replay runs units on fresh databases and returns what goes wrong: one after the other, or each client's at the same time as the
// others'.
func (w world) replay(tb testing.TB, servers []*infratest.DB, units []sent, together bool) (what string) {
	if !together {
		w.pools = 1
	}
	w.leaves = false
	p, err := w.start(tb, servers)
	if err != nil {
		return ""
	}
	defer p.end(tb)
	if together {
		var wg sync.WaitGroup
		for i := range w.clients {
			wg.Go(func() {
				for _, u := range units {
					if u.client == i {
						p.one(context.Background(), p.pools[i%len(p.pools)], u.genUnit, nil)
					}
				}
			})
		}
		wg.Wait()
		return p.compare(tb)
	}
	for _, u := range units {
		u.Cancel = 0
		if what := p.one(context.Background(), p.pools[0], u.genUnit, nil); what != "" {
			return what
		}
	}
	return p.compare(tb)
}

// reduce finds fewer units, and fewer steps, that still go wrong. What happens to clients together need not happen each time: it is
// tried some times.
func (w world) reduce(tb testing.TB, servers []*infratest.DB, units []sent, together bool, tries int) ([]sent, string) {
	what := ""
	fails := func(list []sent) bool {
		for range map[bool]int{true: 6, false: 1}[together] {
			if tries--; tries < 0 {
				return false
			}
			if d := w.replay(tb, servers, list, together); d != "" {
				what = d
				return true
			}
		}
		return false
	}
	if !fails(units) {
		return nil, ""
	}
	for size := (len(units) + 1) / 2; size >= 1 && tries > 0; size /= 2 {
		for i := 0; i < len(units); {
			if less := slices.Delete(slices.Clone(units), i, min(i+size, len(units))); len(less) > 0 && fails(less) {
				units = less
			} else {
				i += size
			}
		}
	}
	for i := range units {
		for j := len(units[i].Steps) - 1; j >= 0 && len(units[i].Steps) > 1; j-- {
			less := slices.Clone(units)
			less[i].Steps = slices.Delete(slices.Clone(units[i].Steps), j, j+1)
			if fails(less) {
				units = less
			}
		}
	}
	return units, what
}

// report is what a failure prints.
func (w world) report(tb testing.TB, servers []*infratest.DB, fault string, done []sent, tries int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v\n%s\n\nschema:\n", w, fault)
	for _, s := range w.schema.statements() {
		fmt.Fprintf(&b, "%s;\n", s)
	}
	few, what := w.reduce(tb, servers, done, false, tries)
	together := few == nil && w.clients > 1
	if together {
		few, what = w.reduce(tb, servers, done, true, tries)
	}
	if few == nil {
		few, what = done[max(0, len(done)-40):], "it did not happen again; these are the last that ended"
	}
	fmt.Fprintf(&b, "\nstatements, as few as were found to be needed:\n")
	for _, u := range few {
		if together {
			fmt.Fprintf(&b, "-- client %d\n", u.client)
		}
		fmt.Fprint(&b, u)
	}
	fmt.Fprintf(&b, "\nwhat these few give:\n%s\n\nagain: make stress-statements SEED=%d COUNT=0\n", what, w.seed)
	return b.String()
}

// envInt is an environment variable's number, or otherwise.
func envInt(name string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// TestStatements sends random statements to random schemas and compares the replicas after each round. With
// ISUKIT_STATEMENTS it goes on until so many were accepted, from a seed that it prints or from ISUKIT_STATEMENTS_SEED on; with
// that seed alone it plays that one world.
func TestStatements(t *testing.T) {
	target := int(envInt("ISUKIT_STATEMENTS", 0))
	seed := envInt("ISUKIT_STATEMENTS_SEED", 0)
	first, worlds, rounds, units := seed, 1, 5, 60
	switch {
	case target > 0:
		first, worlds = envInt("ISUKIT_STATEMENTS_SEED", uint64(time.Now().Unix())*100), math.MaxInt
	case seed == 0:
		first, worlds, rounds, units = 1000, len(shapes), 1, 20
	}
	t.Logf("from seed %d on", first)
	counts := newStatementCounts()
	var wg sync.WaitGroup
	for _, engine := range infratest.Engines(t) {
		start := startCluster
		if target > 0 {
			start = func(tb testing.TB, engine string, n int) *cluster {
				return startServers(tb, engine, n, "--skip-log-bin", "--max-connections=500", "--loose-innodb-native-foreign-keys=ON")
			}
		}
		servers := start(t, engine, 3).dbs
		wg.Go(func() {
			for i := 0; i < worlds && (target == 0 || counts.total() < target); i++ {
				w := worldOf(first + uint64(i))
				if w.engine != engine {
					continue
				}
				if i%50 == 49 {
					t.Logf("%d statements so far", counts.total())
				}
				fault, done := w.play(t, servers, rounds, units, counts)
				if fault == "" {
					continue
				}
				t.Error(w.report(t, servers, fault, done, 100))
				if os.Getenv("ISUKIT_STATEMENTS_GO_ON") == "" {
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d statements were accepted\n%v", counts.total(), counts)
}
