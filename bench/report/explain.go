package report

import (
	"fmt"
	"strings"
)

// explained is a table of EXPLAIN as text, one line for each table that is read: how, by which key, about how many rows, and what else the
// server does. Other text is returned line by line.
func explained(text string) []string {
	var names []string
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if names == nil {
			names = cells
			continue
		}
		if len(cells) != len(names) {
			return plainLines(text)
		}
		row := map[string]string{}
		for i, name := range names {
			if cells[i] != "NULL" {
				row[strings.ToLower(name)] = cells[i]
			}
		}
		lines = append(lines, explainRow(row))
	}
	if len(lines) == 0 {
		return plainLines(text)
	}
	return lines
}

func plainLines(text string) []string {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// explainRow writes one row, by the names of MySQL's columns and MariaDB's.
func explainRow(row map[string]string) string {
	if row["table"] == "" {
		return strings.TrimSpace("no table " + row["extra"])
	}
	key := "no key"
	if row["key"] != "" {
		key = "key " + row["key"]
	}
	text := fmt.Sprintf("%s: %s, %s", row["table"], row["type"], key)
	if row["rows"] != "" {
		text += ", " + row["rows"] + " rows"
	}
	if row["extra"] != "" {
		text += "; " + row["extra"]
	}
	return text
}
