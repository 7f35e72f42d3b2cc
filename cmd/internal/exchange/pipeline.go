package exchange

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
)

// batchExchanges is how many exchanges of a file are handed to a worker at once, batchBytes from how many bytes of bodies on it is no more, and
// flightBytes how many bytes of bodies are on their way to the output: as text they are several times as large.
const (
	batchExchanges = 64
	batchBytes     = 1 << 20
	flightBytes    = 48 << 20
)

// Counts counts what was printed: the exchanges, those of them that were answered with 400 or above, those with a body of unknown type that
// the portal's messages did not fit, the messages that have no form in JSON, and the entries of a HAR file that are not as the format has them.
type Counts struct{ Shown, Refused, Foreign, Formless, Malformed int }

func (c *Counts) add(d Counts) {
	c.Shown += d.Shown
	c.Refused += d.Refused
	c.Foreign += d.Foreign
	c.Formless += d.Formless
	c.Malformed += d.Malformed
}

// PrintOptions say which exchanges are printed, and how.
type PrintOptions struct {
	Filter Filter
	// Bodies prints the decoded messages too, Jsonl a JSON object for each exchange.
	Bodies, Jsonl bool
	// WriteBodies is the directory that bodies are written to, as NUMBER-request.bin and NUMBER-response.bin; empty for none.
	WriteBodies string
	// Eager prints what is there before more is waited for, as someone may be looking on.
	Eager bool
}

// batch is some exchanges on their way to the output.
type batch struct {
	exchanges []*capture.Exchange
	first     int // the number of the first exchange, from 1
	bytes     int // of its bodies
	out       bytes.Buffer
	Counts
	// err is what reading ended with, behind the exchanges; done is closed when out is complete.
	err  error
	done chan struct{}
}

// Print prints what passes the filter until the capture's end. One goroutine reads, as many as there are CPUs
// decode and format, and the output is in the order of reading.
func Print(ctx context.Context, o PrintOptions, reader *capture.Reader, decoder *Decoder, w io.Writer) (p Counts, err error) {
	if o.WriteBodies != "" {
		if err := os.MkdirAll(o.WriteBodies, 0o755); err != nil {
			return p, ui.UsageError(err, "--write-bodies needs a directory; isukit creates it")
		}
	}
	workers := runtime.GOMAXPROCS(0)
	flight := semaphore.NewWeighted(flightBytes)
	work, ordered := make(chan *batch), make(chan *batch, 2*workers)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(work)
		defer close(ordered)
		return readBatches(ctx, &source{Reader: reader, decoder: decoder, eager: o.Eager}, flight, work, ordered)
	})
	for range workers {
		group.Go(func() error {
			own := *decoder
			own.found = nil
			own.prints = !o.Jsonl && len(o.Filter.Fields) == 0
			formatBatches(o, &own, work)
			return nil
		})
	}
	group.Go(func() error {
		for b := range ordered {
			<-b.done
			p.add(b.Counts)
			if _, err := w.Write(b.out.Bytes()); err != nil {
				return err
			}
			flight.Release(b.weight())
			if b.err != nil {
				return b.err
			}
		}
		return nil
	})
	if err := group.Wait(); !errors.Is(err, io.EOF) {
		return p, err
	}
	return p, nil
}

// learnFrom is how many exchanges of a file are read before the first is printed, where types have to be learned, and learnBytes how
// many bytes of bodies.
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

// weight is what a batch takes of flightBytes.
func (b *batch) weight() int64 { return int64(min(b.bytes, flightBytes)) }

// waits reports whether the next exchange may take long to come, so that somebody who looks on should see what there is.
func (s *source) waits() bool { return s.eager && len(s.ahead) == 0 && s.Buffered() == 0 }

// readBatches reads until the end, which goes along with the last batch.
func readBatches(ctx context.Context, reader *source, flight *semaphore.Weighted, work, ordered chan<- *batch) error {
	number := 1
	for {
		b := &batch{done: make(chan struct{}), first: number}
		for len(b.exchanges) < batchExchanges && b.bytes < batchBytes && b.err == nil {
			if len(b.exchanges) > 0 && reader.waits() {
				break
			}
			var e *capture.Exchange
			if e, b.err = reader.next(ctx); b.err == nil {
				b.exchanges, b.bytes = append(b.exchanges, e), b.bytes+bodyBytes(e)
			}
		}
		number += len(b.exchanges)
		ended := b.err != nil // once it is passed on, the batch is another's
		if err := flight.Acquire(ctx, b.weight()); err != nil {
			return err
		}
		select {
		case work <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case ordered <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		if ended {
			return nil
		}
	}
}

func formatBatches(o PrintOptions, decoder *Decoder, work <-chan *batch) {
	for b := range work {
		printer := printer{Out: &b.out, schema: decoder.Schema, bodies: o.Bodies, jsonl: o.Jsonl}
		for i, e := range b.exchanges {
			if !o.Filter.beforeDecoding(e) {
				continue
			}
			d := decoder.decode(e)
			if !o.Filter.match(d) {
				continue
			}
			if err := printer.print(d); err != nil {
				b.err = err
				break
			}
			if err := writeBodies(o.WriteBodies, b.first+i, e); err != nil {
				b.err = err
				break
			}
			b.Formless += printer.formless
			printer.formless = 0
			if e.Malformed {
				b.Malformed++
			}
			if decoder.Builtin && d.foreign() {
				b.Foreign++
			}
			b.Shown++
			if e.Response != nil && e.Response.Status >= 400 {
				b.Refused++
			}
		}
		close(b.done)
	}
}

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
