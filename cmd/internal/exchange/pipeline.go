package exchange

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"isukit/proto/capture"
)

// batchExchanges is how many exchanges of a file are handed to a worker at once.
const batchExchanges = 64

// Counts counts what was printed: the exchanges, and those of them that were answered with 400 or above.
type Counts struct{ Shown, Refused int }

// PrintOptions say which exchanges are printed, and how.
type PrintOptions struct {
	Filter Filter
	// Bodies prints the decoded messages too, jsonl a JSON object for each exchange.
	Bodies, Jsonl bool
	// Eager prints what is there before more is waited for, as someone may be looking on.
	Eager bool
}

// batch is some exchanges on their way to the output.
type batch struct {
	exchanges []*capture.Exchange
	out       bytes.Buffer
	Counts
	// err is what reading ended with, behind the exchanges; done is closed when out is complete.
	err  error
	done chan struct{}
}

// Print prints what passes the filter until the capture's end. One goroutine reads, as many as there are CPUs
// decode and format, and the output is in the order of reading.
func Print(ctx context.Context, o PrintOptions, reader *capture.Reader, decoder *Decoder, w io.Writer) (p Counts, err error) {
	workers := runtime.GOMAXPROCS(0)
	work, ordered := make(chan *batch), make(chan *batch, 2*workers)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(work)
		defer close(ordered)
		return readBatches(ctx, reader, o.Eager, work, ordered)
	})
	for range workers {
		group.Go(func() error {
			formatBatches(o, &Decoder{Schema: decoder.Schema, Routes: decoder.Routes}, work)
			return nil
		})
	}
	group.Go(func() error {
		for b := range ordered {
			<-b.done
			p.Shown += b.Shown
			p.Refused += b.Refused
			if _, err := w.Write(b.out.Bytes()); err != nil {
				return err
			}
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

// readBatches reads until the end, which goes along with the last batch. eager sends batches that are not full.
func readBatches(ctx context.Context, reader *capture.Reader, eager bool, work, ordered chan<- *batch) error {
	for {
		b := &batch{done: make(chan struct{})}
		for len(b.exchanges) < batchExchanges && b.err == nil {
			if eager && len(b.exchanges) > 0 && reader.Buffered() == 0 {
				break
			}
			var e *capture.Exchange
			if e, b.err = reader.Next(ctx); b.err == nil {
				b.exchanges = append(b.exchanges, e)
			}
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
		if b.err != nil {
			return nil
		}
	}
}

func formatBatches(o PrintOptions, decoder *Decoder, work <-chan *batch) {
	for b := range work {
		printer := printer{Out: &b.out, schema: decoder.Schema, bodies: o.Bodies, jsonl: o.Jsonl}
		for _, e := range b.exchanges {
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
			b.Shown++
			if e.Response != nil && e.Response.Status >= 400 {
				b.Refused++
			}
		}
		close(b.done)
	}
}
