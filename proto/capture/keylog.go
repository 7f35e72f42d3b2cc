package capture

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"isukit/input"
)

const (
	maxKeyLogBytes = 256 << 20
	// maxSessions bounds the remembered master secrets of TLS 1.2 sessions that may be resumed.
	maxSessions = 100_000
)

// The labels of the NSS key log format that decrypt application data.
const (
	labelMaster          = "CLIENT_RANDOM"
	labelClientHandshake = "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
	labelServerHandshake = "SERVER_HANDSHAKE_TRAFFIC_SECRET"
	labelClientTraffic   = "CLIENT_TRAFFIC_SECRET_0"
	labelServerTraffic   = "SERVER_TRAFFIC_SECRET_0"
)

// KeyLog holds the secrets of TLS sessions, as programs write them to the file that SSLKEYLOGFILE names, and what is
// learned from the capture itself: the master secrets behind TLS 1.2 tickets and session ids.
type KeyLog struct {
	// secrets are by client random and label.
	secrets map[[32]byte]map[string][]byte
	// sessions are master secrets by the hash of a ticket or session id.
	sessions map[[32]byte][]byte
	// more, where set, gives what was appended to the log since it was last called.
	more func() []byte
}

// NewKeyLog returns a key log without keys.
func NewKeyLog() *KeyLog {
	return &KeyLog{secrets: map[[32]byte]map[string][]byte{}, sessions: map[[32]byte][]byte{}}
}

// ReadKeyLog reads the NSS key log format. It ignores lines of other forms; without any key it is an error.
func ReadKeyLog(r io.Reader) (*KeyLog, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxKeyLogBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read key log: %w", err)
	}
	if len(data) > maxKeyLogBytes {
		return nil, fmt.Errorf("read key log: it has more than %d bytes", maxKeyLogBytes)
	}
	k := NewKeyLog()
	k.add(data)
	if len(k.secrets) > 0 {
		return k, nil
	}
	if bytes.Contains(data, []byte("PRIVATE KEY")) {
		return nil, fmt.Errorf("read key log: this is a private key, which cannot decrypt (EC)DHE connections; " +
			"let the client or the server write a key log (SSLKEYLOGFILE, tls.Config.KeyLogWriter)")
	}
	return nil, fmt.Errorf("read key log: it contains no keys (lines such as \"CLIENT_RANDOM <hex> <hex>\")")
}

// FollowKeyLog reads a growing key log, which need not exist yet: a missing key is looked for in new lines. close ends it.
func FollowKeyLog(path string) (k *KeyLog, close func() error) {
	var f *os.File
	k = NewKeyLog()
	k.more = func() []byte {
		if f == nil {
			opened, err := input.Open(path)
			if err != nil {
				return nil
			}
			f = opened
		}
		// An incomplete line is read again with its rest.
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil
		}
		data, err := io.ReadAll(io.LimitReader(f, maxKeyLogBytes))
		if err != nil {
			return nil
		}
		whole := bytes.LastIndexByte(data, '\n') + 1
		if _, err := f.Seek(at+int64(whole), io.SeekStart); err != nil {
			return nil
		}
		return data[:whole]
	}
	return k, func() error {
		if f == nil {
			return nil
		}
		return f.Close()
	}
}

func (k *KeyLog) add(data []byte) {
	for line := range bytes.Lines(data) {
		parts := strings.Fields(string(line))
		if len(parts) != 3 || len(parts[1]) != 64 {
			continue
		}
		var random [32]byte
		secret, err := hex.DecodeString(parts[2])
		if _, bad := hex.Decode(random[:], []byte(parts[1])); bad != nil || err != nil || len(secret) > 64 || len(secret) == 0 {
			continue
		}
		if k.secrets[random] == nil {
			k.secrets[random] = map[string][]byte{}
		}
		k.secrets[random][parts[0]] = secret
	}
}

// secret finds a session's secret, nil when there is none.
func (k *KeyLog) secret(random [32]byte, label string) []byte {
	if s := k.secrets[random][label]; s != nil || k.more == nil {
		return s
	}
	k.add(k.more())
	return k.secrets[random][label]
}

// remember keeps the master secret of a session that a ticket or session id may resume. TLS 1.2 clients log no key then.
func (k *KeyLog) remember(id, master []byte) {
	if len(id) == 0 || len(master) == 0 {
		return
	}
	if len(k.sessions) >= maxSessions {
		clear(k.sessions)
	}
	k.sessions[sha256.Sum256(id)] = master
}

func (k *KeyLog) resumed(id []byte) []byte {
	return k.sessions[sha256.Sum256(id)]
}
