package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"isukit/infra/pki"
)

// TestIssue: a client that trusts the authority takes a certificate of it for a server at its addresses, and at no other.
func TestIssue(t *testing.T) {
	authority, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(time.Now(), "10.77.0.11", "s1.example")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := authority.Pool()
	if err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{"10.77.0.11": true, "s1.example": true, "10.77.0.12": false, "s2.example": false} {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); (err == nil) != ok {
			t.Errorf("verify for %s: got error %v, want one: %v", name, err, !ok)
		}
	}
}
