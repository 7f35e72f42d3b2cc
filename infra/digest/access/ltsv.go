package access

import "bytes"

// parseLTSV reads "label:value" fields between tabs and skips others. A line must have at least one known field.
func (r *lineReader) parseLTSV(line []byte, e *entry) bool {
	understood := 0
	for len(line) > 0 {
		var one []byte
		if tab := bytes.IndexByte(line, '\t'); tab >= 0 {
			one, line = line[:tab], line[tab+1:]
		} else {
			one, line = line, nil
		}
		colon := bytes.IndexByte(one, ':')
		if colon < 0 {
			continue
		}
		k := r.known(one[:colon])
		if k.field == other {
			continue
		}
		if !e.set(k, one[colon+1:]) {
			return false
		}
		understood++
	}
	return understood > 0
}
