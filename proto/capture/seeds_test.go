package capture_test

import (
	"bytes"
	"strings"
	"testing"

	"isukit/proto/capture"
)

// TestSeeds reads the stored captures of real traffic whole: 16 exchanges each.
func TestSeeds(t *testing.T) {
	all := seeds(t)
	for name, data := range all {
		if strings.HasSuffix(name, ".keys") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			opts := capture.DefaultOptions()
			opts.OnNote = func(n capture.Note) { t.Errorf("note: %s", n.Text) }
			if keys := all[strings.TrimSuffix(name, ".pcap")+".keys"]; keys != nil {
				opts.Keys = mustKeys(t, keys)
			}
			got := read(t, data, opts)
			if len(got) != 16 {
				t.Errorf("got %d exchanges, want 16", len(got))
			}
			for _, e := range got {
				if len(e.Incomplete) > 0 {
					t.Errorf("%s %s: %v", e.Request.Method, e.Request.Target, e.Incomplete)
				}
			}
		})
	}
}

func TestNoCapture(t *testing.T) {
	for _, data := range []string{"", "x", "not a capture", "\x1f\x8b"} {
		if _, err := capture.NewReader(bytes.NewReader([]byte(data)), capture.DefaultOptions()); err == nil {
			t.Errorf("%q: got no error, want one", data)
		}
	}
}
