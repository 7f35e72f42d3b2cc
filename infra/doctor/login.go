package doctor

import (
	"fmt"
	"strings"
)

// The errors of MySQL and MariaDB that tell why a login from another host fails.
const (
	hostBlocked    = 1129
	hostNotAllowed = 1130
	accessDenied   = 1045
	deniedNoPass   = 1698
)

// login finds what keeps clients on other hosts from a database, layer by layer: the port, the server's list of hosts, the
// accounts, their plugins.
func login(o *Observed, add func(Finding)) {
	for _, p := range o.Paths {
		if p.Kind == "mysql" {
			o.loginBy(p, add)
		}
	}
	o.databases(func(h Host, d Database) {
		if len(d.Clients) > 0 {
			accounts(h, d, add)
		}
	})
}

func (o *Observed) loginBy(p Path, add func(Finding)) {
	f := Finding{Severity: Crit, Host: p.From, Subject: p.String()}
	switch code := p.Plain.Code; {
	case !p.Plain.OK && p.Plain.Stage == "connect":
		f.Seen = "the port cannot be reached: " + p.Plain.Error
		f.Fix = fmt.Sprintf("ss -ltn   # on %s: what does the server listen on? bind_address = 0.0.0.0 under [mysqld] and a restart; then firewalls: nft list ruleset", p.To)
		for _, d := range o.host(p.To).Databases {
			f.Seen += bound(d)
		}
	case !p.Plain.OK && !p.Small.OK:
		f.Seen = "the port takes connections, but the server does not answer: " + p.Plain.Error
		f.Fix = fmt.Sprintf("tail the server's error log on %s", p.To)
	case code == hostNotAllowed:
		f.Seen = fmt.Sprintf("the server takes no account from this host (error %d)", code)
		f.Fix = fmt.Sprintf("CREATE USER IF NOT EXISTS 'USER'@'%s' IDENTIFIED BY '...'; GRANT ALL ON DATABASE.* TO 'USER'@'%[1]s';   -- on %[2]s", o.network(p.From), p.To)
	case code == hostBlocked:
		f.Seen = fmt.Sprintf("the server has blocked this host after many broken handshakes (error %d)", code)
		f.Fix = "FLUSH HOSTS;   -- and find what breaks them: isukit doctor --only mtu-black-hole"
	case (code == accessDenied || code == deniedNoPass) && p.User != "":
		f.Seen = fmt.Sprintf("the server refuses %s from this host (error %d): user, host or password do not match an account", p.User, code)
		f.Fix = fmt.Sprintf("SELECT User, Host, plugin FROM mysql.user WHERE User = '%s';   -- on %s", p.User, p.To)
	default:
		return
	}
	add(f)
}

// bound is the address that a database listens on, if that is the reason.
func bound(d Database) string {
	if d.on("skip_networking") {
		return "; " + d.Name + " has skip_networking ON"
	}
	if b := d.Variables["bind_address"]; loopback(b) {
		return fmt.Sprintf("; %s has bind_address %s", d.Name, b)
	}
	return ""
}

// network is the addresses around a host's, in MySQL's notation: 10.77.0.%.
func (o *Observed) network(name string) string {
	address := o.host(name).Address
	if i := strings.LastIndexByte(address, '.'); i > 0 {
		return address[:i] + ".%"
	}
	return "%"
}

func accounts(h Host, d Database, add func(Finding)) {
	var addresses []string
	for _, c := range d.Clients {
		addresses = append(addresses, c.Address)
	}
	if b := bound(d); b != "" {
		add(Finding{Severity: Crit, Host: h.Name, Subject: d.Name,
			Seen: strings.TrimPrefix(b, "; ") + fmt.Sprintf(", and its clients are on other hosts (%s)", strings.Join(addresses, ", ")),
			Fix:  "bind_address = 0.0.0.0   # under [mysqld], then restart the server"})
	}
	if len(d.Accounts) == 0 {
		return // they were not for the one who asked to see
	}
	users := map[string][]Account{}
	var names []string
	for _, a := range d.Accounts {
		if !isSystem(a) {
			if users[a.User] == nil {
				names = append(names, a.User)
			}
			users[a.User] = append(users[a.User], a)
		}
	}
	for _, c := range d.Clients {
		try := []string{c.User}
		if c.User == "" {
			try = names // which one the app takes is not known: it is enough that one may log in
		}
		var refused []Finding
		for _, name := range try {
			if f, ok := refusal(h, d, c.Address, name, users[name]); ok {
				refused = append(refused, f)
			}
		}
		if len(refused) == len(try) {
			for _, f := range refused {
				add(f)
			}
		}
	}
}

// refusal looks at one user's accounts for one client; false where one of them may log in.
func refusal(h Host, d Database, client, user string, list []Account) (Finding, bool) {
	f := Finding{Severity: Crit, Host: h.Name, Subject: d.Name}
	var hosts []string
	for _, a := range list {
		hosts = append(hosts, a.Host)
		if !allowsFrom(a.Host, client) {
			continue
		}
		switch {
		case a.Plugin == "unix_socket" || a.Plugin == "auth_socket":
			f.Seen = fmt.Sprintf("'%s'@'%s' has the plugin %s, which takes nobody from another host such as %s", user, a.Host, a.Plugin, client)
			f.Fix = fmt.Sprintf("ALTER USER '%s'@'%s' IDENTIFIED BY '...';", user, a.Host)
			return f, true
		case a.Plugin == "caching_sha2_password" && !d.speaksTLS():
			f.Severity = Note
			f.Seen = fmt.Sprintf("'%s'@'%s' has the plugin caching_sha2_password and the server no TLS: clients that do not ask for its RSA key cannot log in", user, a.Host)
			f.Fix = "switch TLS on (remove ssl = 0, skip-ssl, tls_version = ''), or let the client fetch the key (allowPublicKeyRetrieval, --get-server-public-key)"
			return f, true
		}
		return f, false
	}
	if len(list) == 0 {
		f.Seen = fmt.Sprintf("user %s has no account for its client's host, %s", user, client)
		f.Fix = fmt.Sprintf("CREATE USER '%s'@'%s' IDENTIFIED BY '...'; GRANT ALL ON DATABASE.* TO '%[1]s'@'%[2]s';", user, client)
		return f, true
	}
	f.Seen = fmt.Sprintf("user %s may log in from %s, not from its client %s", user, strings.Join(hosts, ", "), client)
	f.Fix = fmt.Sprintf("RENAME USER '%s'@'%s' TO '%[1]s'@'%%';", user, list[0].Host)
	return f, true
}

// speaksTLS tells whether clients may come over TLS.
func (d Database) speaksTLS() bool {
	if v, ok := d.Variables["have_ssl"]; ok {
		return v == "YES"
	}
	return d.Variables["ssl_cert"] != "" && d.Variables["tls_version"] != ""
}

// Listens tells whether the server takes connections from other hosts.
func (d Database) Listens() bool {
	return d.Variables["port"] != "" && d.Variables["port"] != "0" && bound(d) == ""
}
