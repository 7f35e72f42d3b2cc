package sqltext

import (
	"slices"
	"strings"
)

// findTables returns the tables that the statement names, after FROM, JOIN, INTO, UPDATE, TABLE and the commas of a FROM list, without
// names of common table expressions. far are those that were written with their database.
func findTables(toks []token) (names []string, far []farTable) {
	ctes := map[string]bool{}
	for i, t := range toks {
		if t.kind != word {
			continue
		}
		if t.text == "AS" && at(toks, i+1).is("(") && at(toks, i-1).kind <= quoted {
			ctes[strings.ToLower(at(toks, i-1).text)] = true
		}
		if tableIntros[t.text] && !t.call && !columnOf(toks, i) {
			names = tableList(toks, i+1, names, &far)
		}
	}
	names = slices.DeleteFunc(names, func(n string) bool { return ctes[n] })
	return names, far
}

// farTable is a table that was written with its database.
type farTable struct {
	database, name string // lower case
	pos, end       int    // where they stand in the text
}

// columnOf: the FROM of EXTRACT or TRIM, or the UPDATE of FOR UPDATE or ON DUPLICATE KEY UPDATE, which name no tables.
func columnOf(toks []token, i int) bool {
	switch toks[i].text {
	case "UPDATE":
		return at(toks, i-1).is("FOR") || at(toks, i-1).is("KEY") || at(toks, i-1).is("ON")
	case "FROM":
		for j := i - 1; j >= 0 && !toks[j].is("SELECT"); j-- {
			if toks[j].call && (toks[j].text == "EXTRACT" || toks[j].text == "TRIM" || toks[j].text == "SUBSTRING" || toks[j].text == "SUBSTR") {
				return !closed(toks[j+1 : i])
			}
		}
	}
	return false
}

// closed reports whether the parentheses in toks are balanced.
func closed(toks []token) bool {
	depth := 0
	for _, t := range toks {
		if t.is("(") {
			depth++
		} else if t.is(")") {
			depth--
		}
	}
	return depth == 0
}

// tableList reads names from position i on: [db.]name [[AS] alias] {, ...}.
func tableList(toks []token, i int, names []string, far *[]farTable) []string {
	for {
		for at(toks, i).kind == word && tableNoise[at(toks, i).text] || at(toks, i).is("(") {
			i++
		}
		t := at(toks, i)
		if t.kind != word && t.kind != quoted || t.kind == word && notTables[t.text] {
			return names
		}
		if at(toks, i+1).is(".") {
			name := at(toks, i+2)
			*far = append(*far, farTable{strings.ToLower(t.text), strings.ToLower(name.text), t.pos, name.end})
			i += 2
			t = at(toks, i)
		}
		if name := strings.ToLower(t.text); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
		i++
		if at(toks, i).is("AS") {
			i++
		}
		if a := at(toks, i); a.kind == quoted || a.kind == word && !notTables[a.text] {
			i++
		}
		if !at(toks, i).is(",") {
			return names
		}
		i++
	}
}

func lower(s string) string { return strings.ToLower(s) }

func set(texts string) map[string]bool {
	m := map[string]bool{}
	for _, t := range strings.Fields(texts) {
		m[t] = true
	}
	return m
}

var (
	tableIntros = set("FROM JOIN INTO UPDATE TABLE REPLACE INSERT STRAIGHT_JOIN TRUNCATE DESCRIBE DESC REFERENCES")
	// beforeTables are the words behind which a name before '(' is a table or a common table expression.
	beforeTables = set("INTO INSERT REPLACE IGNORE UPDATE JOIN FROM TABLE REFERENCES WITH RECURSIVE AS")
	tableNoise   = set("IF NOT EXISTS LOW_PRIORITY DELAYED HIGH_PRIORITY IGNORE QUICK ONLY LATERAL INTO TABLE FROM")
	notTables    = set("SELECT SET VALUES VALUE WHERE ON USING ORDER GROUP LIMIT HAVING UNION JOIN LEFT RIGHT INNER CROSS NATURAL " +
		"STRAIGHT_JOIN FOR LOCK USE FORCE IGNORE PARTITION WINDOW RETURNING DUAL ADD DROP MODIFY CHANGE RENAME TO ALTER AS " +
		"INTERSECT EXCEPT PROCEDURE DATA STATUS INDEX KEYS COLUMNS ASC DESC JSON_TABLE UPDATE INFILE LOCAL LIKE ENGINE SYSTEM_TIME")
)
