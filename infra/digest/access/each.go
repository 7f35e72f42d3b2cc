package access

import (
	"bufio"
	"io"
	"time"
)

// Each calls see with every line of a log that can be read as a request: when it ended (zero if unknown), how long it took, its method, and
// its path without the query. It skips other lines. A time without a zone is in the given one.
func Each(from io.Reader, format string, zone *time.Location, see func(at time.Time, took time.Duration, method, path string)) error {
	reader, err := formatOf(format, zone)
	if err != nil {
		return err
	}
	buffered := bufio.NewReaderSize(from, 64<<10)
	for {
		line, tooLong, err := readLine(buffered)
		var e entry
		if !tooLong && reader.read(line, &e) && e.path != nil {
			see(e.at, e.took, string(e.method), string(plainPath(e.path)))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
