package infra

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"isukit/infra/pki"
)

// keptPair reads a certificate and its key from base.crt and base.key, and makes them where they are not there.
func keptPair(base string, make func() (pki.Pair, error)) (pki.Pair, error) {
	cert, errCert := os.ReadFile(base + ".crt")
	key, errKey := os.ReadFile(base + ".key")
	if errCert == nil && errKey == nil {
		return pki.Pair{Certificate: cert, Key: key}, nil
	}
	if err := errors.Join(errCert, errKey); !errors.Is(err, fs.ErrNotExist) {
		return pki.Pair{}, fmt.Errorf("read certificates: %w", err)
	}
	pair, err := make()
	if err != nil {
		return pki.Pair{}, err
	}
	if err := os.MkdirAll(filepath.Dir(base), 0o700); err != nil {
		return pki.Pair{}, fmt.Errorf("keep certificates: %w", err)
	}
	// The certificate comes last: while it is missing, both are made anew.
	if err := renameio.WriteFile(base+".key", pair.Key, 0o600); err != nil {
		return pki.Pair{}, fmt.Errorf("keep certificates: %w", err)
	}
	if err := renameio.WriteFile(base+".crt", pair.Certificate, 0o644); err != nil {
		return pki.Pair{}, fmt.Errorf("keep certificates: %w", err)
	}
	return pair, nil
}
