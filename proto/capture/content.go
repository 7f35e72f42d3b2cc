package capture

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const maxCodings = 4

// complete takes the content encodings off the bodies, and gathers the messages' faults.
func (e *Exchange) complete(limit int) {
	for _, m := range []*Message{e.Request, e.Response} {
		if m != nil {
			decodeContent(m, limit)
			e.Incomplete = append(e.Incomplete, m.faults...)
		}
	}
}

// decodeContent takes the content encodings off a body. Of a damaged body what could be unpacked stays, with a fault.
func decodeContent(m *Message, limit int) {
	codings := m.Header.list("Content-Encoding")
	for _, coding := range m.Header.list("Transfer-Encoding") {
		if coding != "chunked" { // whose chunks have been joined
			codings = append(codings, coding)
		}
	}
	if len(codings) == 0 || len(m.Body) == 0 {
		return
	}
	who := "response"
	if m.Method != "" {
		who = "request"
	}
	if len(codings) > maxCodings {
		m.faults = append(m.faults, fmt.Sprintf("%s: %d content encodings are more than the limit of %d", who, len(codings), maxCodings))
		return
	}
	for i := len(codings) - 1; i >= 0; i-- {
		body, err := unpackBody(codings[i], m.Body, limit)
		if body != nil {
			m.Body = body
		}
		if err != nil {
			m.faults = append(m.faults, fmt.Sprintf("%s: content encoding %s: %s", who, codings[i], err))
			return
		}
	}
}

// Unpack removes content encodings, as a Content-Encoding header lists them: "gzip", "deflate", "br", "zstd". It returns at most limit
// bytes.
func Unpack(codings string, body []byte, limit int) ([]byte, error) {
	m := Message{Header: Header{{Name: "Content-Encoding", Value: codings}}, Body: body}
	decodeContent(&m, limit)
	if len(m.faults) > 0 {
		return m.Body, errors.New(strings.TrimPrefix(m.faults[0], "response: "))
	}
	return m.Body, nil
}

// gzips and buffers serve many bodies: to make them for each takes longer than to unpack it.
var (
	gzips   = sync.Pool{New: func() any { return new(gzip.Reader) }}
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// unpackBody removes one encoding. With an error it returns the part that it could unpack; nil for an unknown encoding.
func unpackBody(coding string, body []byte, limit int) ([]byte, error) {
	var r io.Reader
	var err error
	switch coding {
	case "identity":
		return body, nil
	case "gzip", "x-gzip":
		z := gzips.Get().(*gzip.Reader)
		defer gzips.Put(z)
		r, err = z, z.Reset(bytes.NewReader(body))
	case "deflate":
		r, err = inflate(body)
	case "br":
		r = brotli.NewReader(bytes.NewReader(body))
	case "zstd":
		var zr *zstd.Decoder
		zr, err = zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
		if err == nil {
			defer zr.Close()
			r = zr
		}
	default:
		return nil, errors.New("unknown, the body is left as it is")
	}
	if err != nil {
		return nil, err
	}
	out := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(out)
	out.Reset()
	_, err = io.Copy(out, io.LimitReader(r, int64(limit)+1))
	if out.Len() > limit {
		return bytes.Clone(out.Bytes()[:limit]), fmt.Errorf("it unpacks to more than the limit of %d bytes", limit)
	}
	if err != nil {
		err = fmt.Errorf("damaged after %d bytes: %w", out.Len(), err)
	}
	return append([]byte{}, out.Bytes()...), err
}

// inflate reads "deflate", which is zlib by the standard and bare deflate from some servers.
func inflate(body []byte) (io.Reader, error) {
	head := bufio.NewReader(bytes.NewReader(body))
	if b, err := head.Peek(2); err == nil && b[0]&0x0f == 8 && (uint(b[0])<<8|uint(b[1]))%31 == 0 {
		return zlib.NewReader(head)
	}
	return flate.NewReader(head), nil
}
