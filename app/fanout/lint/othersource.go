package lint

import (
	"regexp"
	"strings"
)

// language is what is needed of a programming language to find its texts.
type language struct {
	texts   *regexp.Regexp // one group for each kind of quotes, with what is between them
	inserts *regexp.Regexp // what puts values into a text: a hole
	marks   *regexp.Regexp // what its libraries replace by values of their own
	joins   string         // characters that join a text to what follows or precedes
}

var (
	doubleOrSingle = `"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'`
	percentMarks   = regexp.MustCompile(`(^|[^%])%(?:\(\w+\))?s|(^|[^:\w]):[A-Za-z_]\w*`)

	languages = map[string]*language{
		".py":  {regexp.MustCompile(`(?s)[fF]?"""(.*?)"""|'''(.*?)'''|` + doubleOrSingle), regexp.MustCompile(`\{[^{}'"]*\}`), percentMarks, "+%"},
		".rb":  {regexp.MustCompile(`(?s)<<[~-]?['"]?SQL['"]?[^\n]*\n(.*?)\n\s*SQL\b|` + doubleOrSingle), regexp.MustCompile(`#\{[^{}]*\}`), namedMarks, "+"},
		".php": {regexp.MustCompile(`(?s)<<<['"]?SQL['"]?\n(.*?)\n\s*SQL\b|` + doubleOrSingle), regexp.MustCompile(`\{\$[^{}]*\}|\$\w+(?:->\w+)?`), namedMarks, "."},
		".js":  scripts, ".ts": scripts, ".mjs": scripts,
		".rs": {regexp.MustCompile(`(?s)r#"(.*?)"#|"((?:[^"\\]|\\.)*)"`), regexp.MustCompile(`\{\w*\}`), namedMarks, ""},
		".pl": {regexp.MustCompile(`(?s)<<~?['"]?SQL['"]?[^\n]*\n(.*?)\n\s*SQL\b|` + doubleOrSingle), regexp.MustCompile(`[$@]\{?\w+\}?`), namedMarks, "."},
	}
	scripts = &language{regexp.MustCompile("(?s)`((?:[^`\\\\]|\\\\.)*)`|" + doubleOrSingle), regexp.MustCompile(`\$\{[^{}]*\}`), namedMarks, "+"}
)

// otherStatements are the texts of a source that look like statements. A text that is joined to another has a hole there.
func otherStatements(f source, l *language) (list []statement) {
	for _, m := range l.texts.FindAllStringSubmatchIndex(f.text, -1) {
		from, to := -1, -1
		for g := 2; g < len(m); g += 2 {
			if m[g] >= 0 {
				from, to = m[g], m[g+1]
			}
		}
		text := unescaped.Replace(f.text[from:to])
		if !looksSQL(text) {
			continue
		}
		text = l.inserts.ReplaceAllString(text, hole)
		after := strings.TrimSpace(f.text[m[1]:min(len(f.text), m[1]+200)])
		if after != "" && strings.ContainsRune(l.joins, rune(after[0])) && !strings.HasPrefix(after, ".execute") {
			text += hole
		}
		list = append(list, statement{file: f.path, line: 1 + strings.Count(f.text[:from], "\n"), text: placed(text, l.marks)})
	}
	return list
}

var unescaped = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\"`, `"`, `\'`, `'`, "\\\n", "\n")
