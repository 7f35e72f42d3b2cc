package fanout

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Property is something that the effect of a statement, or what a read gives, depends on, and that Open therefore compares.
type Property struct {
	Kind   string // "DSN", "server" or "schema"
	Names  string // variables or parameters, separated by spaces; of a schema what is read
	Reason string
	Fixed  bool // every connection is given the first replica's value, so that a later SET GLOBAL changes nothing
}

const (
	kindDSN    = "DSN"
	kindServer = "server"
	kindSchema = "schema"
)

// Compared is the table of everything that Open compares, each with its reason. A variable that a server does not have is left out there.
func Compared() []Property {
	return slices.Concat(dsnProperties, serverProperties, schemaProperties)
}

var serverProperties = []Property{
	{kindServer, "version", "the engine and its release series (as 10.11 or 8.4): functions, defaults and the optimizer differ between them", false},
	{kindServer, "sql_mode old_mode old", "what is accepted, truncated or rounded, and what a text means", true},
	{kindServer, "time_zone", "TIMESTAMP columns, NOW() and UNIX_TIMESTAMP(); compared by its offset in each week from 1970 to 2037", true},
	{kindServer, "time zone tables", "CONVERT_TZ() gives NULL without them; compared by what it says of 24 zones", false},
	{kindServer, "character_set_client character_set_connection character_set_results collation_connection", "how texts and literals are read and compared", true},
	{kindServer, "character_set_filesystem default_collation_for_utf8mb4 character_set_collations", "the default collation of a character set", true},
	{kindServer, "character_set_server collation_server character_set_database collation_database", "character set and collation of tables and columns that name none, and of variables of routines", false},
	{kindServer, "auto_increment_increment auto_increment_offset", "the ids that a server gives", true},
	{kindServer, "innodb_autoinc_lock_mode", "whether the ids of one statement are consecutive, and which are left out", false},
	{kindServer, "max_allowed_packet", "the longest statement and the longest value; a longer value becomes NULL", false},
	{kindServer, "group_concat_max_len", "where GROUP_CONCAT() and JSON_ARRAYAGG() cut off", true},
	{kindServer, "div_precision_increment", "how many digits a division gives", true},
	{kindServer, "lc_time_names default_week_format", "names of months and days, and WEEK()", true},
	{kindServer, "block_encryption_mode", "AES_ENCRYPT()", true},
	{kindServer, "default_regex_flags regexp_time_limit regexp_stack_limit", "what a regular expression matches, and when it fails", true},
	{kindServer, "cte_max_recursion_depth max_recursive_iterations max_sp_recursion_depth", "where a recursive query or procedure ends", true},
	{kindServer, "max_sort_length", "the order of long values", true},
	{kindServer, "optimizer_switch", "the index of a statement, and with it which rows it locks, and in which order", true},
	{kindServer, "sql_select_limit sql_safe_updates sql_auto_is_null sql_big_selects max_join_size updatable_views_with_limit", "rows that a statement leaves out, or that make it fail", true},
	{kindServer, "foreign_key_checks unique_checks check_constraint_checks", "whether a row that breaks a constraint is accepted", true},
	{kindServer, "innodb_strict_mode sql_if_exists default_storage_engine enforce_storage_engine default_table_encryption sql_require_primary_key sql_generate_invisible_primary_key restrict_fk_on_non_standard_key",
		"what CREATE and ALTER TABLE make or refuse", true},
	{kindServer, "innodb_default_row_format innodb_page_size disabled_storage_engines mysql56_temporal_format innodb_native_foreign_keys", "what CREATE and ALTER TABLE make or refuse", false},
	{kindServer, "explicit_defaults_for_timestamp", "what NULL means for a TIMESTAMP column, and its default", true},
	{kindServer, "lower_case_table_names", "which table a name means", false},
	{kindServer, "enable_cascade_triggers", "whether triggers fire for rows that a foreign key changes", true},
	{kindServer, "system_versioning_asof system_versioning_insert_history system_versioning_alter_history", "which versions of a row a statement sees and writes", true},
	{kindServer, "secure_timestamp", "the clock of a session can't be set where it is on", false},
	{kindServer, "completion_type autocommit transaction_read_only tx_read_only", "when a transaction ends, and what begins then", true},
	{kindServer, "innodb_snapshot_isolation", "whether a transaction may change a row that was changed after it began", true},
	{kindServer, "innodb_rollback_on_timeout", "how much of a transaction is rolled back after a lock wait timeout", false},
	{kindServer, "max_statement_time max_execution_time lock_wait_timeout", "when a server ends a statement", true},
	{kindServer, "max_heap_table_size", "how many rows a table in memory takes", true},
	{kindServer, "ft_boolean_syntax ft_min_word_len ft_max_word_len ft_query_expansion_limit ft_stopword_file innodb_ft_min_token_size innodb_ft_max_token_size innodb_ft_enable_stopword innodb_ft_server_stopword_table innodb_ft_user_stopword_table innodb_ft_result_cache_limit ngram_token_size",
		"what MATCH ... AGAINST finds", false},
	{kindServer, "init_connect", "what a server runs on each new connection", false},
	{kindServer, "log_bin_trust_function_creators", "whether CREATE FUNCTION and CREATE TRIGGER are allowed", false},
	{kindServer, "event_scheduler", "whether a server runs events, which write on their own", false},
}

// settings are one server's: the variables of a session as the app's connections begin, and a digest of its zones.
type settings struct {
	values map[string]string
	zone   string // what to set time_zone to
}

// readSettings asks over a connection of the app's kind, so that what the DSN sets and init_connect are in it.
func readSettings(ctx context.Context, m *member) (settings, error) {
	s := settings{values: map[string]string{}}
	db := sql.OpenDB(m.connector)
	defer db.Close()
	c, err := db.Conn(ctx)
	if err != nil {
		return s, err
	}
	defer c.Close()
	_, rows, err := texts(ctx, c, "SHOW SESSION VARIABLES")
	if err != nil || len(rows) == 0 {
		return s, err
	}
	for _, row := range rows {
		s.values[strings.ToLower(row[0])] = row[1]
	}
	s.values["version"] = series(s.values["version"])
	if err := s.readZones(ctx, c); err != nil {
		return s, fmt.Errorf("read the time zone: %w", err)
	}
	return s, nil
}

// series is the engine and the release series of a version, as MariaDB 10.11.
func series(version string) string {
	engine := "MySQL"
	if strings.Contains(version, "MariaDB") {
		engine = "MariaDB"
	}
	parts := strings.SplitN(version, ".", 3)
	return engine + " " + strings.Join(parts[:min(len(parts), 2)], ".")
}

// sameSettings fails when the replicas in service would treat the same statement differently. What a session can have, it is given from
// now on: what the first of them has today.
func (p *group) sameSettings(ctx context.Context) error {
	members := p.view.Load().readers
	first, err := compareSettings(ctx, members)
	if err != nil {
		return err
	}
	fixed, err := settable(ctx, members, first)
	if err != nil {
		return err
	}
	p.fixed.Store(&fixed)
	return nil
}

// compareSettings returns the settings of the first of members, and fails where another one has others.
func compareSettings(ctx context.Context, members []*member) (settings, error) {
	all := make([]settings, len(members))
	errs := make([]error, len(members))
	inParallel(len(members), func(i int) {
		if all[i], errs[i] = readSettings(ctx, members[i]); errs[i] != nil {
			errs[i] = fmt.Errorf("replica %s: read the settings: %w", members[i].name, errs[i])
		}
	})
	if err := errors.Join(errs...); err != nil {
		return settings{}, err
	}
	var faults []string
	for i, m := range members {
		for _, mode := range []string{"ANSI_QUOTES", "NO_BACKSLASH_ESCAPES"} {
			if strings.Contains(all[i].values["sql_mode"], mode) {
				faults = append(faults, fmt.Sprintf("%s has sql_mode %s, with which texts can't be told apart", m.name, mode))
			}
		}
		if i > 0 {
			faults = append(faults, settingsDiff(members[0].name, all[0], m.name, all[i])...)
		}
	}
	return all[0], differ(faults)
}

// settingsDiff names what differs between two servers, and how to make it equal.
func settingsDiff(aName string, a settings, bName string, b settings) []string {
	var diff []string
	for _, p := range serverProperties {
		for _, name := range properNames(p) {
			av, aHas := a.values[name]
			bv, bHas := b.values[name]
			if av == bv && aHas == bHas {
				continue
			}
			diff = append(diff, fmt.Sprintf("%s: %s has %s, %s has %s (%s); %s", name, aName, shown(av, aHas), bName, shown(bv, bHas), p.Reason, equalize(p, name, av)))
		}
	}
	return diff
}

// properNames are the names of a property; "time zone tables" is one.
func properNames(p Property) []string {
	if p.Names == zoneTables {
		return []string{zoneTables}
	}
	return strings.Fields(p.Names)
}

func shown(value string, has bool) string {
	if !has {
		return "no such variable"
	}
	return fmt.Sprintf("%q", clip(value, 200))
}

// equalize is how to make a setting equal.
func equalize(p Property, name, want string) string {
	switch {
	case name == "version":
		return "run the same release series on all replicas"
	case name == zoneTables:
		return "load the same zones into all of them: mysql_tzinfo_to_sql"
	case name == "time_zone":
		return "set one zone in every DSN, for example time_zone='%2B00%3A00'"
	case strings.HasSuffix(name, "_database"):
		return fmt.Sprintf("ALTER DATABASE with %s %s", name, want)
	case p.Fixed:
		return fmt.Sprintf("SET GLOBAL %s, or %s in every DSN, and the same in the server's configuration", name, name)
	}
	return "set it in the server's configuration, and restart the server where it can't be set while it runs"
}

// settable is the SET that gives a session what s has, of what the account may set on every one of members.
func settable(ctx context.Context, members []*member, s settings) (string, error) {
	var list []string
	for _, p := range serverProperties {
		for _, name := range properNames(p) {
			if value, has := s.values[name]; p.Fixed && has && value != "" {
				list = append(list, name+"="+s.literal(name, value))
			}
		}
	}
	for _, m := range members {
		var err error
		if list, err = m.maySet(ctx, list); err != nil {
			return "", fmt.Errorf("replica %s: try what a session may set: %w", m.name, err)
		}
	}
	if len(list) == 0 {
		return "", nil
	}
	return "SET SESSION " + strings.Join(list, ", "), nil
}

// literal is a value as SET takes it: numbers without quotes.
func (s settings) literal(name, value string) string {
	switch {
	case name == "time_zone":
		value = cmp.Or(s.zone, value)
	case strings.Trim(value, "0123456789") == "", strings.Trim(value, "0123456789.") == "" && strings.Count(value, ".") == 1:
		return value
	}
	return "'" + strings.ReplaceAll(strings.ReplaceAll(value, `\`, `\\`), "'", "''") + "'"
}

// maySet are those of list that a session of the account may set: some need a right.
func (m *member) maySet(ctx context.Context, list []string) ([]string, error) {
	c, err := m.admin.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer discard(c)
	if len(list) == 0 {
		return nil, nil
	}
	if _, err := c.ExecContext(ctx, "SET SESSION "+strings.Join(list, ", ")); outcomeOf(err) != answered {
		return list, err
	}
	var may []string
	for _, one := range list {
		switch _, err := c.ExecContext(ctx, "SET SESSION "+one); {
		case err == nil:
			may = append(may, one)
		case outcomeOf(err) != answered:
			return nil, err
		}
	}
	return may, nil
}
