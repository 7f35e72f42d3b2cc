package loadbench

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/proto"

	portalv1 "isukit/proto/portal/v1"

	"isukit/bench/load"
)

// message is a leaderboard of about 1 KiB and what is known of it.
type message struct {
	want  *portalv1.GetLeaderboardResponse
	bytes []byte
}

func newMessage() *message {
	m := &portalv1.GetLeaderboardResponse{Total: 1000, Phase: portalv1.Phase_PHASE_RUNNING}
	for i := int64(0); proto.Size(m) < 1000; i++ {
		m.Standings = append(m.Standings, &portalv1.Standing{
			TeamId: 1 + i, TeamName: fmt.Sprintf("team number %d", i), Rank: int32(i + 1), BestScore: 90_000 - 17*i,
			LatestScore: 80_000 - 13*i, ResultCount: int32(200 + i), LatestAtUs: 1_790_000_000_000_000 + 997*i,
		})
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err) // a message built here always encodes
	}
	return &message{want: m, bytes: b}
}

var protobuf = []byte("application/protobuf")

// check holds an answer against what is known, field by field as the bytes come, without building messages.
func (m *message) check(r *load.Response) error {
	if r.Status != 200 {
		return load.Faultf(load.Status, "unexpected status", "%d", r.Status)
	}
	if !bytes.Equal(r.HeaderBytes("Content-Type"), protobuf) {
		return load.Faultf(load.Decode, "answer is not protobuf", "%s", r.Header("Content-Type"))
	}
	return m.checkBody(r.Body)
}

func (m *message) checkBody(b []byte) error {
	standing := 0
	var total, phase uint64
	for at := 0; at < len(b); {
		tag, value := varint(b, at)
		if value < 0 {
			return notDecoded("varint", at)
		}
		v, end := varint(b, value)
		if end < 0 {
			return notDecoded("varint", value)
		}
		at = end
		switch tag {
		case 1<<3 | bytesType:
			if v > uint64(len(b)-at) {
				return notDecoded("length", at)
			}
			if standing == len(m.want.Standings) {
				return load.Faultf(load.Wrong, "too many standings", "")
			}
			if err := checkStanding(b[at:at+int(v)], m.want.Standings[standing]); err != nil {
				return err
			}
			standing++
			at += int(v)
		case 2 << 3:
			total = v
		case 3 << 3:
			phase = v
		default:
			return load.Faultf(load.Decode, "unknown field", "%d", tag>>3)
		}
	}
	if standing != len(m.want.Standings) || total != uint64(m.want.Total) || phase != uint64(m.want.Phase) {
		return load.Faultf(load.Wrong, "leaderboard is not the one served", "%d standings of %d", standing, total)
	}
	return nil
}

// bytesType is the wire type of what begins with its length; that of varints is 0.
const bytesType = 2

func checkStanding(b []byte, want *portalv1.Standing) error {
	fields := [...]int64{1: want.TeamId, 3: int64(want.Rank), 4: want.BestScore, 5: want.LatestScore, 6: int64(want.ResultCount),
		7: want.LatestAtUs}
	seen := 0
	for at := 0; at < len(b); seen++ {
		tag, value := b[at], at+1 // what takes more than a byte is not known
		v, end := varint(b, value)
		if end < 0 {
			return notDecoded("varint", value)
		}
		at = end
		if tag == 2<<3|bytesType {
			if v > uint64(len(b)-at) {
				return notDecoded("length", at)
			}
			if name := b[at : at+int(v)]; string(name) != want.TeamName {
				return load.Faultf(load.Wrong, "team's name is another", "%q, want %q", name, want.TeamName)
			}
			at += int(v)
			continue
		}
		num := int(tag >> 3)
		if tag&7 != 0 || num < 1 || num >= len(fields) {
			return load.Faultf(load.Decode, "unknown field", "%d", num)
		}
		if int64(v) != fields[num] {
			return load.Faultf(load.Wrong, "standing differs", "field %d is %d, want %d", num, v, fields[num])
		}
	}
	if seen != 7 {
		return load.Faultf(load.Wrong, "standing is incomplete", "%d fields", seen)
	}
	return nil
}

// varint reads the number at b[at] and returns where it ends, or -1 if it has no end.
func varint(b []byte, at int) (v uint64, end int) {
	if at < len(b) && b[at] < 0x80 {
		return uint64(b[at]), at + 1
	}
	for shift := 0; at < len(b) && shift < 70; shift += 7 {
		c := b[at]
		at++
		v |= uint64(c&0x7f) << (shift & 63)
		if c < 0x80 {
			return v, at
		}
	}
	return 0, -1
}

func notDecoded(what string, at int) error {
	return load.Faultf(load.Decode, "answer can't be decoded", "%s at byte %d", what, at)
}
