package envoy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"isukit/infra/engine"
	"isukit/infra/host"
	"isukit/input/yaml"
)

// ErrNoAdmin says that a configuration names no admin page.
var ErrNoAdmin = errors.New("it has no admin page with a port")

// Admin is the address of the admin page that a configuration names, or ErrNoAdmin.
func Admin(text string) (string, error) {
	var conf struct {
		Admin struct {
			Address struct {
				Socket struct {
					Address string `yaml:"address"`
					Port    int    `yaml:"port_value"`
				} `yaml:"socket_address"`
			} `yaml:"address"`
		} `yaml:"admin"`
	}
	if err := yaml.Decode([]byte(text), &conf); err != nil {
		return "", fault(err)
	}
	at := conf.Admin.Address.Socket
	if at.Port == 0 {
		return "", ErrNoAdmin
	}
	if ip := net.ParseIP(at.Address); ip == nil || ip.IsUnspecified() {
		at.Address = "127.0.0.1"
	}
	return net.JoinHostPort(at.Address, strconv.Itoa(at.Port)), nil
}

// Running is all that the running Envoy, whose configuration file has the text conf, was started with, for Dumped. The error is ErrNoAdmin
// if nothing can answer.
func Running(ctx context.Context, h host.Host, conf string) (any, error) {
	admin, err := Admin(conf)
	if err != nil {
		return nil, err
	}
	out, err := get(ctx, h, "http://"+admin+"/config_dump")
	if err != nil {
		return nil, fmt.Errorf("read Envoy's running configuration: %w", err)
	}
	var dump struct {
		Configs []struct {
			Bootstrap any `json:"bootstrap"`
		} `json:"configs"`
	}
	if err := json.Unmarshal(out, &dump); err != nil {
		return nil, fmt.Errorf("read Envoy's config_dump: %w", err)
	}
	for _, c := range dump.Configs {
		if c.Bootstrap != nil {
			return c.Bootstrap, nil
		}
	}
	return nil, errors.New("no bootstrap in Envoy's config_dump")
}

// getLimit is how long an admin page may take.
const getLimit = 10 * time.Second

// get reads a page as the host sees it. A far host needs no program for that.
func get(ctx context.Context, h host.Host, url string) ([]byte, error) {
	far, ok := h.(host.Dialer)
	if !ok {
		out, err := host.Output(ctx, h, "sh", "-c", `curl -sSf -m 10 "$1" || wget -qO - -T 10 "$1"`, "sh", url)
		return []byte(out), err
	}
	ctx, cancel := context.WithTimeout(ctx, getLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: far.Dial, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, host.MaxFileBytes))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	return body, err
}

// Dumped is the value of a key in what Running returned; nil where that has no value, or its default.
func Dumped(v any, key string) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inside := range v {
			if rest, ok := strings.CutPrefix(key, name); ok && rest == "" {
				return inside
			} else if rest, deeper := strings.CutPrefix(rest, Separator); ok && deeper {
				if found := Dumped(inside, rest); found != nil {
					return found
				}
			}
		}
	case []any:
		entries := make([]Entry, len(v))
		for i, item := range v {
			entries[i].Name = strconv.Itoa(i + 1)
			if m, ok := item.(map[string]any); ok && m["name"] != nil {
				entries[i].Name = fmt.Sprint(m["name"])
			}
		}
		for i, called := range Names(entries) {
			if rest, ok := strings.CutPrefix(key, called+Separator); ok {
				return Dumped(v[i], rest)
			}
		}
	}
	return nil
}

// Covers tells whether have has all that want says. What a dump leaves out has its default, which is empty, 0 or false.
func Covers(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		m, _ := have.(map[string]any)
		for key, v := range want {
			if !Covers(m[key], v) {
				return false
			}
		}
		return true
	case []any:
		list, _ := have.([]any)
		for i := range min(len(list), len(want)) {
			if !Covers(list[i], want[i]) {
				return false
			}
		}
		return len(list) == len(want)
	}
	if have == nil {
		return want == nil || want == "" || fmt.Sprint(want) == "0" || want == false
	}
	return engine.Same(fmt.Sprint(have), fmt.Sprint(want))
}

// Short is a value as people read it, not longer than a line.
func Short(v any) string {
	if v == nil {
		return "(none)"
	}
	text, err := json.Marshal(v)
	if err != nil || len(text) > 120 {
		return string(text[:min(len(text), 120)]) + "..."
	}
	return string(text)
}
