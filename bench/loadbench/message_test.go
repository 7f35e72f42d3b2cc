package loadbench

import (
	"testing"

	"google.golang.org/protobuf/proto"
)

// TestCheckFindsEveryChange holds the check to what makes the bench honest: no answer but the right one passes it.
func TestCheckFindsEveryChange(t *testing.T) {
	m := newMessage()
	if err := m.checkBody(m.bytes); err != nil {
		t.Errorf("the message itself: %v", err)
	}
	for i := range m.bytes {
		for _, flip := range []byte{1, 0x80, 0xff} {
			changed := append([]byte(nil), m.bytes...)
			changed[i] ^= flip
			if m.checkBody(changed) == nil {
				t.Errorf("byte %d changed by %#x passes", i, flip)
			}
		}
		if m.checkBody(m.bytes[:i]) == nil {
			t.Errorf("the first %d bytes pass", i)
		}
	}
	if m.checkBody(append(append([]byte(nil), m.bytes...), 0x20, 1)) == nil {
		t.Error("a further field passes")
	}
	backwards := proto.Clone(m.want)
	b, err := proto.MarshalOptions{}.Marshal(backwards)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.checkBody(b); err != nil {
		t.Errorf("encoded by the library: %v", err)
	}
}

func BenchmarkCheck(b *testing.B) {
	m := newMessage()
	b.ReportAllocs()
	for b.Loop() {
		if err := m.checkBody(m.bytes); err != nil {
			b.Fatal(err)
		}
	}
}
