package profile

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/google/pprof/profile"
	"google.golang.org/protobuf/encoding/protowire"
)

// preferred are the values that are shown of a profile that has several, the most telling first.
var preferred = []string{"cpu", "inuse_space", "delay", "goroutine"}

// routeLabels are the labels by which apps say, with pprof.Do, which route a sample belongs to. It becomes the lowest box of its stack.
var routeLabels = []string{"route", "http.route", "handler"}

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
	if len(data) > maxBytes || parts(data) > maxStacks {
		return nil, ErrTooLarge
	}
	p, err := profile.ParseUncompressed(data)
	if err == nil && len(p.SampleType) == 0 {
		err = errors.New("it names no type of sample")
	}
	if err == nil {
		err = p.CheckValid()
	}
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	return stacksOf(p), nil
}

// parts is how many samples, locations and functions a profile has: the parsed ones take many times the memory of the packed.
func parts(data []byte) (n int) {
	for len(data) > 0 && n <= maxStacks {
		_, _, size := protowire.ConsumeField(data)
		if size < 0 {
			return n // the parser reports what is wrong
		}
		data, n = data[size:], n+1
	}
	return n
}

func stacksOf(p *profile.Profile) *Stacks {
	which := len(p.SampleType) - 1
	for _, name := range slices.Backward(preferred) {
		for i, t := range p.SampleType {
			if t.Type == name {
				which = i
			}
		}
	}
	s := &Stacks{Type: p.SampleType[which].Type, Unit: p.SampleType[which].Unit}
	for _, sample := range p.Sample {
		st := Stack{Value: sample.Value[which]}
		for _, location := range sample.Location {
			for _, line := range location.Line {
				if line.Function == nil {
					st.Frames = append(st.Frames, "?")
					continue
				}
				st.Frames = append(st.Frames, line.Function.Name)
			}
			if len(location.Line) == 0 {
				st.Frames = append(st.Frames, "?")
			}
		}
		for _, key := range routeLabels {
			if route := sample.Label[key]; len(route) > 0 {
				st.Frames = append(st.Frames, route[0])
				break
			}
		}
		slices.Reverse(st.Frames)
		s.Stacks = append(s.Stacks, st)
	}
	return s
}
