package external

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// FindScore finds the last score that an output states: as a member "score" of a JSON object, or in words ("Final score: 1,234"). An
// error says that the last one cannot be read whole; a score before it is then none either.
func FindScore(output []byte) (score float64, found bool, err error) {
	text := plain(string(output))
	docs, cut := documents([]byte(text))
	words := []byte(text)
	from := len(text)
	if cut >= 0 {
		if keyword.MatchString(text[cut:]) {
			return 0, false, fmt.Errorf("the output ends within a JSON document: %s", short(text[cut:]))
		}
		from = cut
	}
	for _, d := range docs {
		for i := d.begin; i < d.end; i++ {
			words[i] = '\n' // what a document says is not said in words
		}
	}
	v, at, err := inWords(string(words[:from]))
	for _, d := range docs {
		if d.begin < at {
			break
		}
		value, ok := scoreIn(d.value)
		if !ok {
			continue
		}
		switch value := value.(type) {
		case json.Number:
			v, err = Number(value.String())
		case string:
			v, err = Number(value)
		default:
			return 0, false, nil // null and the like: the benchmark says that it has none
		}
		return v, err == nil, err
	}
	return v, at >= 0 && err == nil, err
}

// ReadScore reads a score that a person gives: a number, or output of the benchmark of it.
func ReadScore(text string) (float64, error) {
	v, err := Number(text)
	if err == nil {
		return v, nil
	}
	found, ok, stated := FindScore([]byte(text))
	switch {
	case stated != nil:
		return 0, stated
	case !ok:
		return 0, err
	}
	return found, nil
}

// scoreIn is the member "score" of a JSON object, or that of the only object within it that has one.
func scoreIn(value any) (any, bool) {
	object, ok := value.(map[string]any)
	if !ok {
		return nil, false
	}
	for name, v := range object {
		if strings.EqualFold(name, "score") {
			return v, true
		}
	}
	var within []any
	for _, v := range object {
		if score, ok := scoreIn(v); ok {
			within = append(within, score)
		}
	}
	if len(within) != 1 {
		return nil, false
	}
	return within[0], true
}

// Figures are the numbers of an output's last JSON object with any, without lists; those of inner objects are named outer.inner.
func Figures(output []byte) map[string]float64 {
	docs, _ := documents([]byte(plain(string(output))))
	for _, d := range docs {
		figures := map[string]float64{}
		if object, ok := d.value.(map[string]any); ok {
			flatten("", object, figures)
		}
		if len(figures) > 0 {
			return figures
		}
	}
	return map[string]float64{}
}

func flatten(prefix string, object map[string]any, figures map[string]float64) {
	for name, value := range object {
		switch v := value.(type) {
		case json.Number:
			if f, err := v.Float64(); err == nil {
				figures[prefix+name] = f
			}
		case map[string]any:
			flatten(prefix+name+".", v, figures)
		}
	}
}

// maxScore bounds scores: above it a float64 no longer distinguishes whole numbers.
const maxScore = 1 << 53

// numberExpr is the grammar of numbers: a sign; digits, perhaps in thousands; a fraction; an exponent; a decimal prefix; a unit.
var numberExpr = regexp.MustCompile(`^([+-]?)` +
	`(\d+|\d{1,3}(?:,\d{3})+|\d{1,3}(?:'\d{3})+|\d{1,3}(?:[\x{a0}\x{2009}\x{202f}]\d{3})+|\d+(?:_\d+)+|\d{1,3}(?:\.\d{3}){2,})` +
	`(\.\d+)?([eE][+-]?\d+)?` +
	`(?:\s?([kKMGT]))?(?:\s?(?i:%|pts?|points?|p|点|/s|(?:req|requests?|ops|tx|hits|r|q|t)(?:/s|ps|/sec)?))?$`)

var prefixes = map[string]float64{"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

// Number reads text as one number, completely or not at all: "-1", "1.2e+07", "12,345.6", "1_000", "12.5k", "1234 points", also in quotes,
// with colours or in full-width digits. A number that is cut ("1.2e+"), ambiguous ("1,23") or above 2^53 is an error that gives the reason.
func Number(text string) (float64, error) {
	clean := strings.Trim(plain(text), " \t\"'`“”*")
	m := numberExpr.FindStringSubmatch(clean)
	if m == nil {
		return 0, fmt.Errorf("%q cannot be read whole as one number", short(strings.TrimSpace(text)))
	}
	digits := m[2]
	if strings.Count(digits, ".") > 1 || !strings.Contains(digits, ".") {
		digits = strings.Map(func(c rune) rune {
			if c < '0' || c > '9' {
				return -1
			}
			return c
		}, digits)
	}
	v, err := strconv.ParseFloat(m[1]+digits+m[3]+m[4], 64)
	if err == nil {
		v *= prefixes[m[5]]
	}
	if err != nil || math.Abs(v) > maxScore {
		return 0, fmt.Errorf("%q is beyond 2^53, above which whole numbers cannot be told apart", clean)
	}
	return v, nil
}

// escapes are the control sequences of a terminal: colours, titles and the like.
var escapes = regexp.MustCompile(`\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])`)

// plain is text without what is for a terminal, with one kind of digits, signs and line ends.
func plain(text string) string {
	text = escapes.ReplaceAllString(strings.ToValidUTF8(text, "?"), "")
	return strings.NewReplacer("−", "-", "\r\n", "\n", "\r", "\n", "’", "'").Replace(width.Fold.String(text))
}

// keyword is how a score is named, with what may be written before it to name another one.
var keyword = regexp.MustCompile(`(?i)(?:\b(best|high(?:est)?|max(?:imum)?|min(?:imum)?|prev(?:ious)?|last|old|target|required|expected|baseline|base|raw|sub|partial)[ _-]*)?(?:(?:\b|_)score\b|スコア)`)

// linking is the text between the name of a score and its number, if nothing else is there.
var linking = regexp.MustCompile(`^["'\x60*)\]]*(?:\s*(?:[:=|>→]+|=>|->|[-.…]{2,}|\t)|\s+(?:is|was|of)\b|\s)[\s"'\x60*“(\[|]*`)

// label is other text that may be there: words before a colon, for example "score after 60 s: 1234".
var label = regexp.MustCompile(`^[^:=\n]{0,60}[:=][\s"'\x60*“(\[|]*`)

// errNoStatement says that a score is named without a number.
var errNoStatement = errors.New("no number")

// inWords finds the last score that text states, and where; at is -1 where it states none.
func inWords(text string) (v float64, at int, err error) {
	all := keyword.FindAllStringSubmatchIndex(text, -1)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i][2] >= 0 {
			continue // another score than the one that counts
		}
		line, _, _ := strings.Cut(text[all[i][1]:], "\n")
		if v, err = stated(line); !errors.Is(err, errNoStatement) {
			return v, all[i][0], err
		}
	}
	return 0, -1, nil
}

func stated(line string) (float64, error) {
	for _, between := range []*regexp.Regexp{linking, label} {
		rest := line[len(between.FindString(line)):]
		if len(rest) == len(line) {
			continue
		}
		switch word, _, _ := strings.Cut(strings.ToLower(strings.TrimLeft(rest, "+-")), " "); {
		case strings.HasPrefix(word, "nan"), strings.HasPrefix(word, "inf"):
			return 0, fmt.Errorf("the score is %q", short(rest))
		case word == "" || word[0] < '0' || word[0] > '9':
			continue
		}
		return Number(numberIn(rest))
	}
	return 0, errNoStatement
}

// numberIn is the beginning of text that has to be one number: up to a blank or what closes, with the blocks of three digits and the
// prefix or unit behind a blank that belong to it.
func numberIn(text string) string {
	end := wordEnd(text)
	for end < len(text) && text[end] == ' ' {
		next := text[end+1:]
		word := next[:wordEnd(next)]
		threeDigits := len(word) >= 3 && strings.Trim(word[:3], "0123456789") == "" && (len(word) == 3 || !unicode.IsDigit(rune(word[3])))
		if _, prefix := prefixes[word]; word == "" || !(threeDigits || prefix || word[0] == '/') {
			break
		}
		end += 1 + len(word)
	}
	return text[:end]
}

func wordEnd(text string) int {
	for i, c := range text {
		rest := text[i+utf8.RuneLen(c):]
		switch {
		case strings.ContainsRune(" \t\n\"'`*”)]}|;<!", c) && !(c == '\'' && startsWithDigit(rest)):
			return i
		case strings.ContainsRune(",.", c) && !startsWithDigit(rest) && !strings.HasPrefix(rest, ".") && !strings.HasSuffix(text[:i], "."):
			return i
		}
	}
	return len(text)
}

func startsWithDigit(text string) bool { return text != "" && text[0] >= '0' && text[0] <= '9' }
