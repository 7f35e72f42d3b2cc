// Package pki makes a private certificate authority and certificates for proxies with TLS, as PEM texts. The caller stores them.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// The times for which certificates hold. A contest is over within days; an authority is kept with its state directory.
const (
	authorityLife   = 10 * 365 * 24 * time.Hour
	certificateLife = 397 * 24 * time.Hour // clients refuse longer ones
)

// Pair is a certificate with its private key, both as PEM.
type Pair struct {
	Certificate []byte
	Key         []byte // a secret
}

// NewAuthority makes an authority that is trusted by nobody yet.
func NewAuthority(now time.Time) (Pair, error) {
	p, err := issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "isukit private authority"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, MaxPathLenZero: true,
	}, nil, nil)
	if err != nil {
		return Pair{}, fmt.Errorf("make a certificate authority: %w", err)
	}
	return p, nil
}

// Issue makes a certificate for a server with these IP addresses or names.
func (authority Pair) Issue(now time.Time, hosts ...string) (Pair, error) {
	fail := func(err error) (Pair, error) {
		return Pair{}, fmt.Errorf("issue a certificate for %v: %w", hosts, err)
	}
	parent, key, err := authority.parse()
	if err != nil {
		return fail(err)
	}
	cert := &x509.Certificate{
		Subject: pkix.Name{CommonName: "isukit proxy"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			cert.IPAddresses = append(cert.IPAddresses, ip)
		} else {
			cert.DNSNames = append(cert.DNSNames, h)
		}
	}
	p, err := issue(cert, parent, key)
	if err != nil {
		return fail(err)
	}
	return p, nil
}

// Pool is what a client needs to trust the authority.
func (authority Pair) Pool() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority.Certificate) {
		return nil, errors.New("read a certificate authority: no certificate in it")
	}
	return pool, nil
}

func (authority Pair) parse() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certBlock, _ := pem.Decode(authority.Certificate)
	keyBlock, _ := pem.Decode(authority.Key)
	if certBlock == nil || keyBlock == nil {
		return nil, nil, errors.New("the authority is not PEM")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	return cert, key, err
}

// issue signs cert with the parent's key, or with its own without a parent.
func issue(cert, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	if cert.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return Pair{}, err
	}
	if parent == nil {
		parent, parentKey = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		return Pair{}, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	}, nil
}
