package main

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
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
	standing := 0
	var total, phase uint64
	for b := r.Body; len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return decodeFault(n)
		}
		b = b[n:]
		switch {
		case num == 1 && typ == protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return decodeFault(n)
			}
			if standing == len(m.want.Standings) {
				return load.Faultf(load.Wrong, "too many standings", "")
			}
			if err := checkStanding(v, m.want.Standings[standing]); err != nil {
				return err
			}
			standing++
			b = b[n:]
		case (num == 2 || num == 3) && typ == protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return decodeFault(n)
			}
			if num == 2 {
				total = v
			} else {
				phase = v
			}
			b = b[n:]
		default:
			return load.Faultf(load.Decode, "unknown field", "%d", num)
		}
	}
	if standing != len(m.want.Standings) || total != uint64(m.want.Total) || phase != uint64(m.want.Phase) {
		return load.Faultf(load.Wrong, "leaderboard is not the one served", "%d standings of %d", standing, total)
	}
	return nil
}

func checkStanding(b []byte, want *portalv1.Standing) error {
	fields := [...]int64{1: want.TeamId, 3: int64(want.Rank), 4: want.BestScore, 5: want.LatestScore, 6: int64(want.ResultCount),
		7: want.LatestAtUs}
	seen := 0
	for ; len(b) > 0; seen++ {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return decodeFault(n)
		}
		b = b[n:]
		if num == 2 && typ == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return decodeFault(n)
			}
			if string(v) != want.TeamName {
				return load.Faultf(load.Wrong, "team's name is another", "%q, want %q", v, want.TeamName)
			}
			b = b[n:]
			continue
		}
		if typ != protowire.VarintType || num < 1 || int(num) >= len(fields) {
			return load.Faultf(load.Decode, "unknown field", "%d", num)
		}
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return decodeFault(n)
		}
		if int64(v) != fields[num] {
			return load.Faultf(load.Wrong, "standing differs", "field %d is %d, want %d", num, v, fields[num])
		}
		b = b[n:]
	}
	if seen != 7 {
		return load.Faultf(load.Wrong, "standing is incomplete", "%d fields", seen)
	}
	return nil
}

func decodeFault(n int) error {
	return load.Faultf(load.Decode, "answer can't be decoded", "%v", protowire.ParseError(n))
}
