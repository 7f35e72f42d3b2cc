package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/release"
	"isukit/cmd/internal/ui"
	"isukit/input"
	"isukit/proto/capture"
	"isukit/proto/decode"
)

type sendOptions struct {
	schema exchange.Schema
	body   bodyOptions
	// target is "METHOD /path" with to as its base, or "METHOD URL"; without a method the route, or the body, decides it.
	target   string
	to       string
	typ      string
	respType string
	headers  []string
	jar      string
	gzip     bool
	chunked  bool
	asJSON   bool
	quiet    bool
	verbose  bool
	insecure bool
	cacert   string
	timeout  time.Duration
	stateDir string // where a lab that is up is found
}

func newSendCmd(s streams) *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:   "send ROUTE|URL [FIELD=VALUE...]",
		Short: "Send a protobuf request and decode the response",
		Long: `Send one request over HTTP/1.1 and decode the response or the error.

ROUTE is a path, with or without its method: 'POST /api/login', '/api/teams?page=2'; --to is the server's URL.
Pass the body as field=value arguments, or with --file as a file in text or JSON format ("-" is standard input).
The route gives the message types, or name them with --type and --resp-type. --jar saves cookies in a file.`,
		Example: `  isukit send --to http://127.0.0.1:9292 --jar me.jar 'POST /api/signup' name=me password=secret12
  isukit send --to http://127.0.0.1:9292 --jar me.jar /api/session
  isukit send --type portal.v1.LoginRequest 'POST http://10.0.0.2/api/login' --file login.json -v`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.target, o.body.fields = args[0], args[1:]
			o.quiet = isQuiet(cmd)
			o.stateDir = stateDir(cmd)
			return runSend(cmd.Context(), o, s)
		},
	}
	schemaFlags(cmd, &o.schema)
	routesFlag(cmd, &o.schema)
	cmd.Flags().StringVar(&o.to, "to", "http://127.0.0.1", "the server: a URL without a path, or unix:/path/of/its/socket")
	cmd.Flags().StringVar(&o.typ, "type", "", "message type of the request (default: the route's)")
	cmd.Flags().StringVar(&o.respType, "resp-type", "", "message type of the response (default: the route's)")
	cmd.Flags().StringVar(&o.body.file, "file", "", "file with the message in text or JSON format; - is standard input")
	cmd.Flags().StringArrayVarP(&o.headers, "header", "H", nil, "another header, for example 'Name: value'")
	cmd.Flags().StringVar(&o.jar, "jar", "", "file to read cookies from and save them in")
	cmd.Flags().BoolVar(&o.gzip, "gzip", false, "send the body with Content-Encoding: gzip")
	cmd.Flags().BoolVar(&o.chunked, "chunked", false, "send the body with Transfer-Encoding: chunked")
	jsonFlag(cmd.Flags(), &o.asJSON)
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "print the headers of the request and the response")
	cmd.Flags().BoolVar(&o.insecure, "insecure", false, "accept any TLS certificate")
	cmd.Flags().StringVar(&o.cacert, "cacert", "", "file with CA certificates to trust (PEM)")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 10*time.Second, "timeout of a response")
	return cmd
}

func runSend(ctx context.Context, o sendOptions, s streams) error {
	schema, routes, err := o.schema.Load(ctx, s.err)
	if err != nil {
		return err
	}
	method, target, err := o.resolve(routes)
	if err != nil {
		return err
	}
	body, hasBody, err := o.bytes(ctx, routes, schema, method, target, s)
	if err != nil {
		return err
	}
	req, err := o.request(ctx, method, target, body, hasBody)
	if err != nil {
		return err
	}
	authorities, err := o.trust()
	if err != nil {
		return err
	}
	jar, err := exchange.OpenJar(o.jar)
	if err != nil {
		return err
	}
	for _, c := range jar.Cookies(target) {
		req.AddCookie(c)
	}
	reach, err := openLabReach(ctx, o.stateDir)
	if err != nil {
		return err
	}
	defer reach.Close(ctx)
	// HTTP/1.1, as the traffic that is debugged.
	transport := &http.Transport{Protocols: http1Only(), DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: o.insecure, RootCAs: authorities}}
	dial := dialer(o.to, reach)
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return exchange.WithCodings(conn), nil
	}
	transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		config := transport.TLSClientConfig.Clone()
		config.ServerName = target.Hostname()
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return exchange.WithCodings(secure), nil
	}
	client := &http.Client{
		Timeout: o.timeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	if o.verbose {
		printHead(s.err, "> ", fmt.Sprintf("%s %s %s", req.Method, req.URL.RequestURI(), req.Proto), req.Header)
	}
	resp, err := client.Do(req)
	if err != nil {
		return ui.Hinted(err, sendHint(ctx, err, transport, target))
	}
	defer resp.Body.Close()
	if err := jar.Keep(target, resp.Cookies()); err != nil {
		return err
	}
	return o.answer(resp, routes, schema, s)
}

func sendHint(ctx context.Context, err error, t *http.Transport, target *url.URL) string {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return "--cacert FILE names the authority to trust; --insecure accepts any certificate"
	case exchange.SpeaksHTTP2(ctx, t, target):
		return "the server speaks HTTP/2 only, and isukit sends HTTP/1.1: name the port of the app behind the proxy"
	case errors.Is(err, io.EOF):
		return "the server closed the connection without a response"
	}
	return "isukit send --to URL names the server; \"isukit topology status\" shows the address of a running topology"
}

// trust reads the authorities of --cacert; no file, the system's.
func (o *sendOptions) trust() (*x509.CertPool, error) {
	if o.cacert == "" {
		return nil, nil
	}
	pem, err := input.Read(o.cacert, ui.MaxBodyFileBytes)
	if err != nil {
		return nil, ui.UsageError(err, "")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, ui.UsageError(fmt.Errorf("%s has no certificate in PEM format", o.cacert), "")
	}
	return pool, nil
}

func dialer(to string, reach *labReach) func(ctx context.Context, network, address string) (net.Conn, error) {
	socket, ok := strings.CutPrefix(to, "unix:")
	if !ok {
		return reach.DialContext
	}
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
}

func http1Only() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

func serverURL(to string) (*url.URL, error) {
	raw := to
	if strings.HasPrefix(raw, "unix:") {
		raw = "http://localhost"
	}
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, ui.UsageError(fmt.Errorf("--to %q is not a server URL", to), "the form is --to http://127.0.0.1:9292")
	}
	return u, nil
}

func (o *sendOptions) resolve(routes decode.Routes) (method string, target *url.URL, err error) {
	raw := o.target
	if m, rest, ok := strings.Cut(raw, " "); ok {
		method, raw = strings.ToUpper(m), strings.TrimSpace(rest)
	}
	if strings.HasPrefix(raw, "/") {
		base, err := serverURL(o.to)
		if err != nil {
			return "", nil, err
		}
		raw = strings.TrimSuffix(base.String(), "/") + raw
	}
	target, err = url.Parse(raw)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return "", nil, ui.UsageError(fmt.Errorf("%q is neither a path nor an http:// URL", o.target), "the forms are 'POST /api/login' and 'POST http://host/api/login'")
	}
	if method != "" {
		return method, target, nil
	}
	found := routes.Find("", target.Path)
	hasBody := len(o.body.fields) > 0 || o.body.file != "" || o.typ != ""
	var fit decode.Routes
	for _, r := range found {
		if (r.Request != "") == hasBody {
			fit = append(fit, r)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0].Method, target, nil
	case len(found) == 0 && !hasBody:
		return http.MethodGet, target, nil
	case len(found) == 0:
		return http.MethodPost, target, nil
	}
	var names []string
	for _, r := range found {
		names = append(names, r.Method)
	}
	return "", nil, ui.UsageError(fmt.Errorf("%s takes %s", target.Path, strings.Join(names, " and ")), "put the method before the path, for example 'POST "+target.Path+"'")
}

// bytes builds the request's body; hasBody is false for a route without one.
func (o *sendOptions) bytes(ctx context.Context, routes decode.Routes, schema *decode.Schema, method string, target *url.URL, s streams) (body []byte, hasBody bool, err error) {
	typ := o.typ
	if typ == "" {
		route, ok := routes.Match(method, target.Path)
		given := len(o.body.fields) > 0 || o.body.file != ""
		switch {
		case ok && route.Request == "" && given:
			return nil, false, ui.UsageError(fmt.Errorf("%s %s takes no body", method, target.Path), "")
		case !ok && given:
			return nil, false, ui.UsageError(fmt.Errorf("no route matches %s %s, so its body type is unknown", method, target.Path), "name it with --type")
		case !ok || route.Request == "":
			return nil, false, nil
		}
		typ = route.Request
	}
	md, err := schema.Find(typ)
	if err != nil {
		return nil, false, ui.UsageError(err, "isukit types lists the types that are known")
	}
	m, err := o.body.message(ctx, md, schema, s)
	if err != nil {
		return nil, false, err
	}
	body, err = decode.Wire(m)
	return body, true, err
}

func (o *sendOptions) request(ctx context.Context, method string, target *url.URL, body []byte, hasBody bool) (*http.Request, error) {
	var r io.Reader
	if hasBody {
		if o.gzip {
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			if _, err := w.Write(body); err != nil {
				return nil, err
			}
			if err := w.Close(); err != nil {
				return nil, err
			}
			body = packed.Bytes()
		}
		r = bytes.NewReader(body)
		if o.chunked {
			r = io.MultiReader(r) // a reader of unknown length is sent in chunks
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), r)
	if err != nil {
		return nil, ui.UsageError(err, "")
	}
	req.Header.Set("Accept", "application/protobuf")
	req.Header.Set("User-Agent", "isukit/"+release.Version)
	if hasBody {
		req.Header.Set("Content-Type", "application/protobuf")
		if o.gzip {
			req.Header.Set("Content-Encoding", "gzip")
		}
	}
	for _, h := range o.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, ui.UsageError(fmt.Errorf("--header %q has no colon", h), "the form is 'Name: value'")
		}
		if strings.EqualFold(name, "Host") {
			req.Host = strings.TrimSpace(value)
			continue
		}
		req.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return req, nil
}

func bodyText(size int, contentType string) string {
	switch {
	case size == 0 && contentType == "":
		return "no body"
	case contentType == "":
		return fmt.Sprintf("%d bytes of no type", size)
	}
	return fmt.Sprintf("%d bytes of %s", size, decode.Terminal(contentType))
}

// answer prints the response's message: the route's, the one that its content type names, or what fits.
func (o *sendOptions) answer(resp *http.Response, routes decode.Routes, schema *decode.Schema, s streams) error {
	transferCodings := resp.Header.Values(exchange.CodingsHeader)
	resp.Header.Del(exchange.CodingsHeader)
	resp.Header["Transfer-Encoding"] = append(transferCodings, resp.TransferEncoding...)
	if o.verbose {
		printHead(s.err, "< ", resp.Proto+" "+resp.Status, resp.Header)
	}
	data, failed := io.ReadAll(io.LimitReader(resp.Body, ui.MaxBodyFileBytes+1)) // what came is shown, too, where it ends early
	if len(data) > ui.MaxBodyFileBytes {
		return fmt.Errorf("the response has more than %d bytes", ui.MaxBodyFileBytes)
	}
	if coding := strings.Join(append(resp.Header.Values("Content-Encoding"), transferCodings...), ","); coding != "" {
		var err error
		data, err = capture.Unpack(coding, data, ui.MaxBodyFileBytes)
		failed = cmp.Or(failed, err)
	}
	contentType := resp.Header.Get("Content-Type")
	typ := decode.TypeOfContentType(contentType)
	if typ == "" {
		typ = o.respType
	}
	if typ == "" {
		typ = decode.TypeOf(routes, resp.Request.Method, resp.Request.URL.Path, decode.Response, resp.StatusCode, contentType)
	}
	if !o.verbose && !o.quiet {
		fmt.Fprintf(s.err, "isukit: %s, %s\n", resp.Status, bodyText(len(data), contentType))
	}
	if to := resp.Header.Get("Location"); to != "" && !o.verbose {
		fmt.Fprintf(s.err, "isukit: note: the server redirects to %s; isukit does not follow\n", decode.Terminal(to))
	}
	switch {
	case !decode.MayBeProtobuf(contentType, typ != "") && o.respType == "":
		printHints(s.err, data)
		if _, err := ui.Bytes(s.out).Write(data); err != nil {
			return err
		}
	case len(data) == 0 && typ == "":
	default:
		var err error
		if typ == "" {
			typ, err = guessType(schema, data, s)
		} else if typ != o.respType {
			_, err = schema.Find(typ)
		}
		if err == nil {
			err = decodeOne(decodeOptions{asJSON: o.asJSON}, schema, typ, data, s)
		} else { // nobody here said that there is such a type: the body is shown without one
			fmt.Fprintf(s.err, "isukit: note: %v; --resp-type names one\n", err)
			err = showUntyped(data, s)
		}
		if err != nil && failed == nil {
			return err
		}
	}
	if failed != nil {
		return fmt.Errorf("read the response: %w", failed)
	}
	if resp.StatusCode >= 400 {
		return fmt.Errorf("%w: %s", errAnswered, resp.Status)
	}
	return nil
}

// showUntyped shows a body of no known type: a message by its numbers, anything else as it is.
func showUntyped(data []byte, s streams) error {
	hints := decode.Hints(data)
	text := len(hints) > 0 && slices.Contains([]string{"text", "json", "html"}, hints[0].Kind)
	if !text && len(decode.Raw(data, decode.DefaultLimits()).Faults) == 0 {
		return decodeRaw(data, s)
	}
	_, err := ui.Bytes(s.out).Write(data)
	return err
}

func printHead(w io.Writer, prefix, first string, header http.Header) {
	fmt.Fprintf(w, "%s%s\n", prefix, first)
	var names []string
	for name := range header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range header[name] {
			fmt.Fprintf(w, "%s%s: %s\n", prefix, name, decode.Terminal(value))
		}
	}
}
