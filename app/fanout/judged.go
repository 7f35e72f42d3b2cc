package fanout

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// judged refuses what would differ between replicas, in modes that promise otherwise, and notes how the rest is made exact.
func (c *conn) judged(ctx context.Context, q call) (call, error) {
	if err := ctx.Err(); err != nil {
		return q, err
	}
	switch {
	case c.p.cfg.Observer && q.st.Kind != sqltext.Read && q.st.Kind != sqltext.ReadFirst:
		return q, refused("this pool was opened with Config.Observer")
	case c.p.cfg.Mode == ModeReplicated && q.st.Kind == sqltext.Refused && q.st.Local: // else nothing: row events copy what RAND() gave
		return q, refused(q.st.Reason)
	case c.p.cfg.Mode == ModeReplicated && q.isLock():
		return q, refused("LOCK TABLES is about one connection; use a transaction with SELECT ... FOR UPDATE")
	case !c.p.keepsStates():
		return c.p.packetHolds(q)
	}
	q.v = q.st.Judge(c.p.schema.Load())
	if q.v.Unknown != "" {
		if err := c.p.lookFor(ctx, q.v.Unknown); err != nil {
			return q, err
		}
		q.v = q.st.Judge(c.p.schema.Load())
	}
	if q.v.Outcome == sqltext.Refuses {
		return q, refused(q.v.Reason)
	}
	for _, table := range q.v.Far {
		if err := c.p.sameFar(ctx, table); err != nil {
			return q, err
		}
	}
	return c.p.packetHolds(q)
}

// sameFar fails unless a table of another database is the same on all replicas in service. It is compared once.
func (p *group) sameFar(ctx context.Context, table string) error {
	if _, known := p.far.Load(table); known {
		return nil
	}
	members := p.view.Load().readers
	sums, errs := make([]string, len(members)), make([]error, len(members))
	inParallel(len(members), func(i int) {
		var name string
		var sum sql.NullString
		errs[i] = members[i].admin.QueryRowContext(ctx, "CHECKSUM TABLE "+table).Scan(&name, &sum)
		sums[i] = sum.String
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("compare table %s, of another database, on all replicas: %w", table, err)
	}
	for i, sum := range sums {
		if sum == "" || sum != sums[0] {
			return refused(fmt.Sprintf("table %s, of another database, is not the same on %s and %s; make it so, or insert the rows from the app", table, members[0].name, members[i].name))
		}
	}
	p.far.Store(table, true)
	return nil
}

// lookFor reads the schemas again for an unknown table, which may be new. If it does not exist, the first replica's error is returned.
func (p *group) lookFor(ctx context.Context, table string) error {
	if err := p.compareSchemas(ctx); err != nil {
		return err
	}
	if p.schema.Load().Tables[table] != nil {
		return nil
	}
	_, err := p.view.Load().readers[0].admin.ExecContext(ctx, "SELECT 1 FROM "+quoteName(table)+" LIMIT 0")
	if numberOfError(err) != 0 {
		return err
	}
	return nil
}

// packetMargin is more than the pool's own statements add to a packet.
const packetMargin = 4096

// packetHolds fails when q is larger than the packets that some replica takes: one replica must not execute it and another refuse it, or
// cut the connection in the middle. Of what the driver sends in pieces, it notes that nothing can follow in the packet.
func (p *group) packetHolds(q call) (call, error) {
	margin := 64
	if p.keepsStates() {
		margin = packetMargin
	}
	if q.st.Kind != sqltext.Write || p.packet == 0 {
		return q, nil
	}
	large := 2*len(q.text) + margin // at most: a byte of an argument is two at most
	size := len(q.text) + margin
	for _, a := range q.args {
		large += 2*sizeOf(a.Value, false) + 32
	}
	if large <= min(p.packet, p.inline) {
		return q, nil
	}
	for _, a := range q.args {
		size += sizeOf(a.Value, true)
	}
	q.large = size > p.inline
	if size <= p.packet {
		return q, nil
	}
	return q, &WriteError{Fate: NotApplied, Cause: fmt.Errorf("the statement has %d bytes, and the smallest max_allowed_packet of the replicas is %d: %w",
		size-margin, p.packet, mysql.ErrPktTooLarge)}
}

// sizeOf is how long an argument is, or is in a statement's text.
func sizeOf(v driver.Value, inText bool) int {
	s := ""
	switch v := v.(type) {
	case string:
		s = v
	case []byte:
		if !inText {
			return len(v)
		}
		s = string(v)
	default:
		return 32
	}
	if !inText {
		return len(s)
	}
	n := len(s) + 12 // with quotes, and _binary before them
	for i := range len(s) {
		if strings.IndexByte("\x00\n\r\x1a'\"\\", s[i]) >= 0 {
			n++ // the driver writes it as two
		}
	}
	return n
}

// learnSchema reads what the rules need from m, for all replicas in service. ordered: the order of unique keys was compared.
func (p *group) learnSchema(ctx context.Context, m *member, ordered bool) error {
	s := &sqltext.Schema{Ordered: ordered, Without: p.cfg.WithoutRule}
	if err := m.admin.QueryRowContext(ctx, "SELECT LOWER(DATABASE()), VERSION() LIKE '%MariaDB%'").Scan(&s.Database, &s.MariaDB); err != nil {
		return fmt.Errorf("replica %s: read the schema: %w", m.name, err)
	}
	native, err := m.list(ctx, "SHOW VARIABLES LIKE 'innodb_native_foreign_keys'")
	if err == nil {
		err = readSchema(ctx, m, s)
	}
	if err != nil {
		return err
	}
	s.Swallows = len(native) > 0 && native[0][1] == "OFF"
	p.schema.Store(s)
	return nil
}

// readSchema reads m's tables into s.
func readSchema(ctx context.Context, m *member, s *sqltext.Schema) error {
	names, err := tableNames(ctx, m)
	if err != nil {
		return err
	}
	for _, name := range names {
		create, err := showCreate(ctx, m, name)
		if err != nil {
			return err
		}
		if err := s.AddTable(create); err != nil {
			return fmt.Errorf("replica %s: read the schema: %w", m.name, err)
		}
		s.Tables[strings.ToLower(name)].Name = name
	}
	triggers, err := m.list(ctx, triggerQuery)
	for _, row := range triggers {
		if t := s.Tables[strings.ToLower(row[0])]; t != nil {
			t.Triggers = append(t.Triggers, row[1])
		}
	}
	return err
}

// learnLimits finds the size of the statements that every replica takes, and what their drivers count.
func (p *group) learnLimits(ctx context.Context) {
	const most = 1 << 30 // of the servers
	p.packet, p.inline = 0, most
	for i, m := range p.members {
		my, err := p.cfg.Replicas[i].mysqlConfig()
		p.foundRows = p.foundRows || err != nil || my == nil || my.ClientFoundRows
		var size int
		if err := m.admin.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&size); err != nil {
			continue // one that does not answer is out of service
		}
		if p.packet == 0 || size < p.packet {
			p.packet = size
		}
		if my != nil && my.MaxAllowedPacket > 0 {
			p.inline = min(p.inline, my.MaxAllowedPacket)
		}
	}
	p.inline = min(p.inline, max(p.packet, packetMargin))
}
