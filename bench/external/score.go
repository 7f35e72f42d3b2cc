package external

import (
	"encoding/json"
	"fmt"
	"strings"
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

// ReadScore reads a score that a person gives: a number, or what the benchmark printed of it.
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

// Figures are the numbers of the last JSON object of an output that has any, without its lists; those of inner objects are named
// outer.inner.
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
