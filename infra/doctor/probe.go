package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"

	"isukit/infra/host"
)

// Target is a server that a host is to try to reach.
type Target struct {
	// Kind is "mysql", "http", "https" or "tcp"; with "icmp" only the path is measured.
	Kind    string `json:"kind"`
	Network string `json:"network"` // tcp or unix
	Address string `json:"address"`
	// URI is what HTTP asks for: "/healthz".
	URI string `json:"uri,omitempty"`
	// User and Password are for mysql; without them the login is refused, which tells enough.
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
}

// Tried is the result. All attempts are made at the same time.
type Tried struct {
	// Plain is an attempt as any program makes it, Small one whose segments have at most 1360 bytes.
	Plain Attempt `json:"plain"`
	Small Attempt `json:"small"`
	Sweep Sweep   `json:"sweep"`
	// Status and Header are what HTTP answered.
	Status int         `json:"status,omitempty"`
	Header http.Header `json:"header,omitempty"`
}

// Attempt is one try to connect and to exchange more than a packet.
type Attempt struct {
	OK   bool          `json:"ok"`
	Took time.Duration `json:"took"`
	// Stage is where it failed: "connect", "answer".
	Stage string `json:"stage,omitempty"`
	Error string `json:"error,omitempty"`
	// Code is the number of the database's error; a refused login is an answer, and OK.
	Code uint16 `json:"code,omitempty"`
	// MSS is the size of the segments that were sent, Retransmits how many were sent again.
	MSS         int `json:"mss,omitempty"`
	Retransmits int `json:"retransmits,omitempty"`
}

const (
	smallMSS = 1360
	// tryLimit is for one attempt. A lost segment of a handshake is sent again after 1 and 3 s, and a busy host is slow to see the answer.
	tryLimit = 5 * time.Second
	// padBytes is more than two segments of an Ethernet frame.
	padBytes = 4000
)

// Try tries to reach all targets from here, in parallel.
func Try(ctx context.Context, targets []Target) []Tried {
	tried := make([]Tried, len(targets))
	var trying sync.WaitGroup
	for i, t := range targets {
		if t.Kind != "icmp" {
			trying.Go(func() { tried[i].Plain = t.attempt(ctx, 0, &tried[i]) })
		}
		if t.Kind != "icmp" && t.Network != "unix" {
			trying.Go(func() { tried[i].Small = t.attempt(ctx, smallMSS, nil) })
		}
		if t.Network != "unix" {
			trying.Go(func() { tried[i].Sweep = sweep(ctx, t.Address) })
		}
	}
	trying.Wait()
	return tried
}

// attempt connects with segments of at most mss bytes, 0 being the system's choice, and exchanges a few thousand bytes.
func (t Target) attempt(ctx context.Context, mss int, answer *Tried) (a Attempt) {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	began := time.Now()
	c := &connector{mss: mss}
	err := errors.New("it is not known how to try " + t.Kind)
	switch t.Kind {
	case "mysql":
		a.Code, err = t.login(ctx, c)
	case "http", "https":
		err = t.get(ctx, c, answer)
	case "tcp":
		var conn net.Conn
		if conn, err = c.dial(ctx, t.Network, t.Address); err == nil {
			err = conn.Close()
		}
	}
	a.Took, a.OK = time.Since(began), err == nil
	if err != nil {
		a.Stage, a.Error = "answer", err.Error()
		if !c.connected() {
			a.Stage = "connect"
		} else if ctx.Err() != nil {
			a.Error = fmt.Sprintf("no answer within %v", tryLimit)
		}
	}
	a.MSS, a.Retransmits = c.told()
	return a
}

// connector dials and reads TCP's counters. An HTTP client dials and closes in goroutines of its own.
type connector struct {
	mss int

	mu          sync.Mutex
	conn        *net.TCPConn // the last one
	reached     bool
	mssSent     int
	retransmits int
}

func (c *connector) connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reached
}

// told is the size of the segments that were sent, and how many were sent again.
func (c *connector) told() (mssSent, retransmits int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ask()
	return c.mssSent, c.retransmits
}

// ask reads TCP's counters; after a close, the last reading stays.
func (c *connector) ask() {
	if c.conn == nil {
		return
	}
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if mss, again, err := tcpInfo(int(fd)); err == nil {
			c.mssSent, c.retransmits = mss, again
		}
	})
}

func (c *connector) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if c.mss == 0 {
			return nil
		}
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, c.mss) }), err)
	}}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reached = true
	if tcp, ok := conn.(*net.TCPConn); ok {
		c.conn = tcp
		return &informed{tcp, c}, nil
	}
	return conn, nil
}

// informed is a connection whose TCP counters are read before it closes.
type informed struct {
	*net.TCPConn
	c *connector
}

func (i *informed) Close() error {
	i.c.mu.Lock()
	defer i.c.mu.Unlock()
	if i.c.conn == i.TCPConn {
		i.c.ask()
	}
	return i.TCPConn.Close()
}

// quiet takes what the driver would print.
type quiet struct{}

func (quiet) Print(...any) {}

// login logs in, over TLS if possible. It sends attributes of several segments, and a certificate is as long. A refusal is not an error.
func (t Target) login(ctx context.Context, c *connector) (code uint16, err error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd = t.Network, t.Address, t.User, t.Password
	if cfg.User == "" {
		cfg.User = "isukit-probe"
	}
	cfg.TLSConfig, cfg.Logger, cfg.DialFunc = "preferred", quiet{}, c.dial
	cfg.ConnectionAttributes = "isukit_probe:" + strings.Repeat("x", padBytes)
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return 0, err
	}
	conn, err := connector.Connect(ctx)
	if err == nil {
		return 0, conn.Close()
	}
	var refused *mysql.MySQLError
	if errors.As(err, &refused) {
		return refused.Number, nil
	}
	return 0, err
}

const maxAnswer = 1 << 20

// get asks with a head of several segments.
func (t Target) get(ctx context.Context, c *connector, answer *Tried) error {
	transport := &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx, t.Network, t.Address) },
	}
	defer transport.CloseIdleConnections()
	at := t.Address
	if t.Network == "unix" {
		at = "localhost"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.Kind+"://"+at+"/"+strings.TrimPrefix(t.URI, "/"), nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Isukit-Probe", strings.Repeat("x", padBytes))
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if answer != nil {
		answer.Status, answer.Header = res.StatusCode, res.Header
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	return err
}

// Probe is a program that reads Targets as JSON from its standard input, tries them, and prints the results: Argv[0] is a file of this
// machine. It is copied to other hosts, and removed afterwards.
type Probe struct{ Argv []string }

const probeLimit = 30 * time.Second

// From tries the targets from a host.
func (p Probe) From(ctx context.Context, at host.Host, targets []Target) (_ []Tried, err error) {
	if len(targets) == 0 {
		return nil, nil
	}
	fail := func(err error) ([]Tried, error) { return nil, fmt.Errorf("probe from %s: %w", at.About().Name, err) }
	argv := append([]string{}, p.Argv...)
	if arch := at.About().Arch; arch != "" && (arch != runtime.GOARCH || runtime.GOOS != "linux") {
		return fail(fmt.Errorf("%w: the probe is isukit itself, which is for %s/%s here, and the host is linux/%s", host.ErrUnsupported, runtime.GOOS, runtime.GOARCH, arch))
	}
	if !at.About().Here {
		program, err := os.ReadFile(argv[0])
		if err != nil {
			return fail(err)
		}
		argv[0] = path.Join(at.About().Dir, "isukit-probe")
		if err := at.Put(ctx, argv[0], program, 0o700); err != nil {
			return fail(err)
		}
		defer func() { _ = at.Remove(context.WithoutCancel(ctx), argv[0]) }() // a leftover file is in isukit's own directory
	}
	input, err := json.Marshal(targets)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	res, err := at.Run(ctx, host.Command{Argv: argv, Stdin: input})
	if err != nil {
		return fail(err)
	}
	if res.Code != 0 {
		return fail(fmt.Errorf("exit status %d: %s", res.Code, strings.TrimSpace(string(res.Stderr))))
	}
	var tried []Tried
	if err := json.Unmarshal(res.Stdout, &tried); err != nil {
		return fail(err)
	}
	if len(tried) != len(targets) {
		return fail(fmt.Errorf("%d answers for %d targets", len(tried), len(targets)))
	}
	return tried, nil
}
