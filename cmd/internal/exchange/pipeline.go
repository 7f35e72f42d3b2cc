package exchange

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
)

// Counts counts what was printed: the exchanges, those of them that were answered with 400 or above, those with a body of unknown type that
// the portal's messages did not fit, the messages that have no form in JSON, and the entries of a HAR file that are not as the format has them.
type Counts struct{ Shown, Refused, Foreign, Formless, Malformed int }

// PrintOptions select exchanges, and how to print them.
type PrintOptions struct {
	Filter Filter
	// Bodies prints the decoded messages too, Jsonl a JSON object for each exchange.
	Bodies, Jsonl bool
	// WriteBodies is the directory that bodies are written to, as NUMBER-request.bin and NUMBER-response.bin; empty for none.
	WriteBodies string
	// Eager prints what has come before it waits for more, as a person may be watching.
	Eager bool
}

// flushBytes is from how much output on it is written.
const flushBytes = 64 << 10

// Print prints what passes the filter until the capture's end.
func Print(ctx context.Context, o PrintOptions, reader *capture.Reader, decoder *Decoder, w io.Writer) (p Counts, err error) {
	if o.WriteBodies != "" {
		if err := os.MkdirAll(o.WriteBodies, 0o755); err != nil {
			return p, ui.UsageError(err, "--write-bodies needs a directory; isukit creates it")
		}
	}
	decoder.prints = !o.Jsonl && len(o.Filter.Fields) == 0
	in := &source{Reader: reader, decoder: decoder, eager: o.Eager}
	out := &printer{Out: new(bytes.Buffer), schema: decoder.Schema, bodies: o.Bodies, jsonl: o.Jsonl}
	for number := 1; err == nil; number++ {
		var e *capture.Exchange
		if e, err = in.next(ctx); err == nil {
			err = out.exchange(o, decoder, e, number)
		}
		if out.Out.Len() < flushBytes && err == nil && !in.waits() {
			continue
		}
		if _, err := w.Write(out.Out.Bytes()); err != nil {
			return out.Counts, err
		}
		if out.Out.Reset(); out.Out.Cap() > 16*flushBytes { // of a few large bodies
			out.Out, decoder.text = new(bytes.Buffer), nil
		}
	}
	if err == io.EOF {
		err = nil
	}
	return out.Counts, err
}

// exchange prints one exchange, if it passes the filter, and counts it.
func (p *printer) exchange(o PrintOptions, decoder *Decoder, e *capture.Exchange, number int) error {
	if !o.Filter.beforeDecoding(e) {
		return nil
	}
	d := decoder.decode(e)
	if !o.Filter.match(d) {
		return nil
	}
	if err := p.print(d); err != nil {
		return err
	}
	if e.Malformed {
		p.Malformed++
	}
	if decoder.Builtin && d.foreign() {
		p.Foreign++
	}
	p.Shown++
	if e.Response != nil && e.Response.Status >= 400 {
		p.Refused++
	}
	return writeBodies(o.WriteBodies, number, e)
}

// learnFrom is how many exchanges of a file are read before the first is printed if types are learned, learnBytes how many bytes of bodies.
const (
	learnFrom  = 1000
	learnBytes = 32 << 20
)

// source gives exchanges. Those that were read ahead, to learn from them, come first.
type source struct {
	*capture.Reader
	decoder *Decoder
	eager   bool
	ahead   []*capture.Exchange
	err     error // what reading ahead ended with
	began   bool
	bytes   int
}

func (s *source) next(ctx context.Context) (*capture.Exchange, error) {
	if !s.began && s.decoder.Learner != nil && !s.eager {
		for len(s.ahead) < learnFrom && s.bytes < learnBytes && s.err == nil {
			s.read(ctx)
		}
	}
	s.began = true
	if len(s.ahead) == 0 && s.err == nil {
		s.read(ctx)
	}
	if len(s.ahead) == 0 {
		return nil, s.err
	}
	e := s.ahead[0]
	s.ahead = s.ahead[1:]
	return e, nil
}

func (s *source) read(ctx context.Context) {
	e, err := s.Next(ctx)
	if err != nil {
		s.err = err
		return
	}
	s.decoder.Learn(e)
	s.ahead = append(s.ahead, e)
	s.bytes += bodyBytes(e)
}

func bodyBytes(e *capture.Exchange) (n int) {
	for _, m := range []*capture.Message{e.Request, e.Response} {
		if m != nil {
			n += len(m.Body)
		}
	}
	return n
}

// waits reports whether the next exchange may take long to come, so that somebody who looks on should see what there is.
func (s *source) waits() bool { return s.eager && len(s.ahead) == 0 && s.Buffered() == 0 }

// writeBodies writes the bodies of one exchange to files in dir; no directory, no files.
func writeBodies(dir string, number int, e *capture.Exchange) error {
	if dir == "" {
		return nil
	}
	for name, m := range map[string]*capture.Message{"request": e.Request, "response": e.Response} {
		if m == nil || len(m.Body) == 0 {
			continue
		}
		file := filepath.Join(dir, fmt.Sprintf("%06d-%s.bin", number, name))
		if err := os.WriteFile(file, m.Body, 0o644); err != nil {
			return fmt.Errorf("write a body: %w", err)
		}
	}
	return nil
}
