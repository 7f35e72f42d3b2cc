package ui

import "strings"

// DidYouMean is a hint with the known name that is most like a word which is none; "" where none is near.
func DidYouMean(word string, known []string) string {
	best, least := "", len(word)/3+2 // what is further away is another name
	for _, name := range known {
		d := distance(word, name)
		if len(word) > 3 && strings.Contains(name, word) {
			d = 1 // a part was left out
		}
		if d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// distance is how many letters have to be put in, taken out or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := before
			if a[i] != b[j] {
				replaced++
			}
			before = row[j+1]
			row[j+1] = min(replaced, before+1, row[j]+1)
		}
	}
	return row[len(b)]
}
