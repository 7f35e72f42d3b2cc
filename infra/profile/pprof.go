package profile

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of fields in pprof's profile.proto.
const (
	profileSampleType = 1
	profileSample     = 2
	profileLocation   = 4
	profileFunction   = 5
	profileStrings    = 6
	typeType          = 1
	typeUnit          = 2
	sampleLocation    = 1
	sampleValue       = 2
	locationID        = 1
	locationLine      = 4
	lineFunction      = 1
	functionID        = 1
	functionName      = 2
)

// preferred are the values that are shown of a profile that has several, the most telling first.
var preferred = []string{"cpu", "inuse_space", "delay", "goroutine"}

// ParsePprof reads a profile as net/http/pprof serves it, packed or not.
func ParsePprof(data []byte) (*Stacks, error) {
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("read profile: %w", err)
		}
		if data, err = io.ReadAll(io.LimitReader(unpacked, maxBytes+1)); err != nil {
			return nil, fmt.Errorf("read profile: %w", err)
		}
	}
	if len(data) > maxBytes {
		return nil, ErrTooLarge
	}
	p := pprof{lines: map[uint64][]uint64{}, names: map[uint64]uint64{}}
	if err := fields(data, p.top); err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	if len(p.types) == 0 || len(p.strings) == 0 {
		return nil, errors.New("read profile: it is not one of pprof")
	}
	return p.stacks(), nil
}

// pprof is a profile as it is on the wire: numbers that point at others.
type pprof struct {
	strings []string
	types   [][2]uint64         // of values: name and unit, in strings
	samples []rawSample         // as they come
	lines   map[uint64][]uint64 // location -> functions, the innermost first
	names   map[uint64]uint64   // function -> its name, in strings
}

type rawSample struct{ locations, values []uint64 }

// fields calls each with every field of a message: its number, and its number or bytes.
func fields(b []byte, each func(num protowire.Number, v uint64, text []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var v uint64
		var text []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := each(num, v, text); err != nil {
			return err
		}
	}
	return nil
}

func (p *pprof) top(num protowire.Number, _ uint64, text []byte) error {
	switch num {
	case profileSampleType:
		var t [2]uint64
		p.types = append(p.types, t)
		return fields(text, func(num protowire.Number, v uint64, _ []byte) error {
			if num == typeType || num == typeUnit {
				p.types[len(p.types)-1][num-1] = v
			}
			return nil
		})
	case profileSample:
		return p.sample(text)
	case profileLocation:
		return p.location(text)
	case profileFunction:
		var id, name uint64
		err := fields(text, func(num protowire.Number, v uint64, _ []byte) error {
			switch num {
			case functionID:
				id = v
			case functionName:
				name = v
			}
			return nil
		})
		p.names[id] = name
		return err
	case profileStrings:
		p.strings = append(p.strings, string(text))
	}
	return nil
}

func (p *pprof) sample(text []byte) error {
	if len(p.samples) >= maxStacks {
		return ErrTooLarge
	}
	var s rawSample
	err := fields(text, func(num protowire.Number, v uint64, packed []byte) error {
		to := map[protowire.Number]*[]uint64{sampleLocation: &s.locations, sampleValue: &s.values}[num]
		if to == nil {
			return nil
		}
		if packed == nil {
			*to = append(*to, v)
			return nil
		}
		for len(packed) > 0 {
			v, n := protowire.ConsumeVarint(packed)
			if n < 0 {
				return protowire.ParseError(n)
			}
			*to, packed = append(*to, v), packed[n:]
		}
		return nil
	})
	p.samples = append(p.samples, s)
	return err
}

func (p *pprof) location(text []byte) error {
	var id uint64
	var functions []uint64
	err := fields(text, func(num protowire.Number, v uint64, line []byte) error {
		switch num {
		case locationID:
			id = v
		case locationLine:
			return fields(line, func(num protowire.Number, v uint64, _ []byte) error {
				if num == lineFunction {
					functions = append(functions, v)
				}
				return nil
			})
		}
		return nil
	})
	p.lines[id] = functions
	return err
}

func (p *pprof) text(index uint64) string {
	if index < uint64(len(p.strings)) {
		return p.strings[index]
	}
	return "?"
}

func (p *pprof) stacks() *Stacks {
	which := len(p.types) - 1
	for _, name := range slices.Backward(preferred) {
		for i, t := range p.types {
			if p.text(t[0]) == name {
				which = i
			}
		}
	}
	s := &Stacks{Type: p.text(p.types[which][0]), Unit: p.text(p.types[which][1])}
	for _, raw := range p.samples {
		if which >= len(raw.values) {
			continue
		}
		st := Stack{Value: int64(raw.values[which])}
		for _, location := range raw.locations {
			for _, function := range p.lines[location] {
				st.Frames = append(st.Frames, p.text(p.names[function]))
			}
			if len(p.lines[location]) == 0 {
				st.Frames = append(st.Frames, "?")
			}
		}
		slices.Reverse(st.Frames)
		s.Stacks = append(s.Stacks, st)
	}
	return s
}
