package load

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
)

// hitColumns are the columns of ExportCSV, and the keys of ExportJSONLines in the same order.
const hitColumns = "user,endpoint,kind,status,received_bytes,intended_s,sent_s,done_s"

// ExportCSV writes hits as CSV with a header line. Times are seconds from the start of the load, with six decimals. The first
// error of the hits ends it, after those before have been written.
func ExportCSV(w io.Writer, hits iter.Seq2[LoggedHit, error]) error {
	b := bufio.NewWriter(w)
	b.WriteString(hitColumns + "\n") // a bufio.Writer keeps its first error for Flush
	for h, err := range hits {
		if err != nil {
			return flushed(b, err)
		}
		name := h.Name
		if strings.ContainsAny(name, ",\"\r\n") {
			name = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
		fmt.Fprintf(b, "%d,%s,%s,%d,%d,%.6f,%.6f,%.6f\n", h.User, name, h.Kind, h.Status, h.ReceivedBytes,
			h.Intended.Seconds(), h.Sent.Seconds(), h.Done.Seconds())
	}
	return flushed(b, nil)
}

// ExportJSONLines writes hits as one JSON object a line, with the keys and units of ExportCSV.
func ExportJSONLines(w io.Writer, hits iter.Seq2[LoggedHit, error]) error {
	b := bufio.NewWriter(w)
	names := map[string][]byte{}
	var line []byte
	for h, err := range hits {
		if err != nil {
			return flushed(b, err)
		}
		name, ok := names[h.Name]
		if !ok {
			name, _ = json.Marshal(h.Name) // a string always encodes
			names[h.Name] = name
		}
		line = fmt.Appendf(line[:0], `{"user":%d,"endpoint":%s,"kind":%q,"status":%d,"received_bytes":%d`, h.User, name, h.Kind, h.Status,
			h.ReceivedBytes)
		line = appendSeconds(line, "intended_s", h.Intended.Seconds())
		line = appendSeconds(line, "sent_s", h.Sent.Seconds())
		line = appendSeconds(line, "done_s", h.Done.Seconds())
		b.Write(append(line, "}\n"...))
	}
	return flushed(b, nil)
}

func appendSeconds(line []byte, key string, v float64) []byte {
	line = fmt.Appendf(line, `,%q:`, key)
	return strconv.AppendFloat(line, v, 'f', 6, 64)
}

// flushed flushes b; err, if there is one, is the more important error.
func flushed(b *bufio.Writer, err error) error {
	if flushErr := b.Flush(); err == nil && flushErr != nil {
		return fmt.Errorf("write hits: %w", flushErr)
	}
	return err
}
