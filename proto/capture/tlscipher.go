package capture

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

type cipherKind int

const (
	kindGCM cipherKind = iota
	kindChaCha
	kindCBC
)

// suite is a cipher suite as far as reading needs it.
type suite struct {
	name string
	kind cipherKind
	// keyBytes is the key's length; hash that of the key derivation, mac that of CBC records.
	keyBytes  int
	hash, mac func() hash.Hash
	// rsa says that the server's private key decides the secret; elsewhere it only signs.
	rsa bool
}

// suites are those that are read, by their numbers in RFC 5246, 5288, 5289, 7905 and 8446.
var suites = map[uint16]suite{
	0x1301: {"TLS_AES_128_GCM_SHA256", kindGCM, 16, sha256.New, nil, false},
	0x1302: {"TLS_AES_256_GCM_SHA384", kindGCM, 32, sha512.New384, nil, false},
	0x1303: {"TLS_CHACHA20_POLY1305_SHA256", kindChaCha, 32, sha256.New, nil, false},

	0x009c: {"RSA_AES_128_GCM_SHA256", kindGCM, 16, sha256.New, nil, true},
	0x009d: {"RSA_AES_256_GCM_SHA384", kindGCM, 32, sha512.New384, nil, true},
	0x009e: {"DHE_RSA_AES_128_GCM_SHA256", kindGCM, 16, sha256.New, nil, false},
	0x009f: {"DHE_RSA_AES_256_GCM_SHA384", kindGCM, 32, sha512.New384, nil, false},
	0xc02b: {"ECDHE_ECDSA_AES_128_GCM_SHA256", kindGCM, 16, sha256.New, nil, false},
	0xc02c: {"ECDHE_ECDSA_AES_256_GCM_SHA384", kindGCM, 32, sha512.New384, nil, false},
	0xc02f: {"ECDHE_RSA_AES_128_GCM_SHA256", kindGCM, 16, sha256.New, nil, false},
	0xc030: {"ECDHE_RSA_AES_256_GCM_SHA384", kindGCM, 32, sha512.New384, nil, false},
	0xcca8: {"ECDHE_RSA_CHACHA20_POLY1305", kindChaCha, 32, sha256.New, nil, false},
	0xcca9: {"ECDHE_ECDSA_CHACHA20_POLY1305", kindChaCha, 32, sha256.New, nil, false},
	0xccaa: {"DHE_RSA_CHACHA20_POLY1305", kindChaCha, 32, sha256.New, nil, false},

	0x002f: {"RSA_AES_128_CBC_SHA", kindCBC, 16, sha256.New, sha1.New, true},
	0x0035: {"RSA_AES_256_CBC_SHA", kindCBC, 32, sha256.New, sha1.New, true},
	0x003c: {"RSA_AES_128_CBC_SHA256", kindCBC, 16, sha256.New, sha256.New, true},
	0x003d: {"RSA_AES_256_CBC_SHA256", kindCBC, 32, sha256.New, sha256.New, true},
	0x0033: {"DHE_RSA_AES_128_CBC_SHA", kindCBC, 16, sha256.New, sha1.New, false},
	0x0039: {"DHE_RSA_AES_256_CBC_SHA", kindCBC, 32, sha256.New, sha1.New, false},
	0x0067: {"DHE_RSA_AES_128_CBC_SHA256", kindCBC, 16, sha256.New, sha256.New, false},
	0x006b: {"DHE_RSA_AES_256_CBC_SHA256", kindCBC, 32, sha256.New, sha256.New, false},
	0xc009: {"ECDHE_ECDSA_AES_128_CBC_SHA", kindCBC, 16, sha256.New, sha1.New, false},
	0xc00a: {"ECDHE_ECDSA_AES_256_CBC_SHA", kindCBC, 32, sha256.New, sha1.New, false},
	0xc013: {"ECDHE_RSA_AES_128_CBC_SHA", kindCBC, 16, sha256.New, sha1.New, false},
	0xc014: {"ECDHE_RSA_AES_256_CBC_SHA", kindCBC, 32, sha256.New, sha1.New, false},
	0xc023: {"ECDHE_ECDSA_AES_128_CBC_SHA256", kindCBC, 16, sha256.New, sha256.New, false},
	0xc024: {"ECDHE_ECDSA_AES_256_CBC_SHA384", kindCBC, 32, sha512.New384, sha512.New384, false},
	0xc027: {"ECDHE_RSA_AES_128_CBC_SHA256", kindCBC, 16, sha256.New, sha256.New, false},
	0xc028: {"ECDHE_RSA_AES_256_CBC_SHA384", kindCBC, 32, sha512.New384, sha512.New384, false},
}

// recordCipher decrypts the records of one direction under one key.
type recordCipher struct {
	suite   suite
	version uint16
	aead    cipher.AEAD
	iv      []byte
	block   cipher.Block
	macKey  []byte
	// encryptThenMAC is the extension of RFC 7366, for CBC.
	encryptThenMAC bool
	// secret is a TLS 1.3 traffic secret, from which the next one follows.
	secret []byte
	buf    []byte
}

var errNotDecrypted = errors.New("the record does not decrypt")

// open decrypts the record number seq. The content is valid until the next call; kind is the content's record type.
func (c *recordCipher) open(seq uint64, kind byte, header, body []byte) (content []byte, inner byte, err error) {
	switch {
	case c.suite.kind == kindCBC:
		content, err = c.openCBC(seq, header, body)
		return content, kind, err
	case c.version == version13:
		content, err = c.openAEAD(seq, body, header)
		if err != nil {
			return nil, 0, err
		}
		// The content ends with its type and then zeros.
		for len(content) > 0 && content[len(content)-1] == 0 {
			content = content[:len(content)-1]
		}
		if len(content) == 0 {
			return nil, 0, errNotDecrypted
		}
		return content[:len(content)-1], content[len(content)-1], nil
	}
	content, err = c.openAEAD12(seq, header, body)
	return content, kind, err
}

func (c *recordCipher) openAEAD(seq uint64, body, additional []byte) ([]byte, error) {
	var nonce [12]byte
	copy(nonce[:], c.iv)
	for i := range 8 {
		nonce[4+i] ^= byte(seq >> (56 - 8*i))
	}
	return c.unseal(nonce[:], body, additional)
}

func (c *recordCipher) unseal(nonce, body, additional []byte) ([]byte, error) {
	out, err := c.aead.Open(c.buf[:0], nonce, body, additional)
	if err != nil {
		return nil, errNotDecrypted
	}
	c.buf = out
	return out, nil
}

func (c *recordCipher) openAEAD12(seq uint64, header, body []byte) ([]byte, error) {
	explicit := 0
	if c.suite.kind == kindGCM {
		explicit = 8
	}
	length := len(body) - explicit - c.aead.Overhead()
	if length < 0 {
		return nil, errNotDecrypted
	}
	additional := macHeader(seq, header, length)
	if explicit == 0 {
		return c.openAEAD(seq, body, additional)
	}
	var nonce [12]byte
	copy(nonce[:], c.iv)
	copy(nonce[4:], body[:8])
	return c.unseal(nonce[:], body[8:], additional)
}

// macHeader is what a TLS 1.2 record is authenticated with, in addition to its content.
func macHeader(seq uint64, header []byte, length int) []byte {
	b := make([]byte, 13)
	binary.BigEndian.PutUint64(b, seq)
	copy(b[8:], header[:3])
	binary.BigEndian.PutUint16(b[11:], uint16(length))
	return b
}

func (c *recordCipher) openCBC(seq uint64, header, body []byte) ([]byte, error) {
	size := c.suite.mac().Size()
	var tag []byte
	if c.encryptThenMAC {
		if len(body) < size {
			return nil, errNotDecrypted
		}
		body, tag = body[:len(body)-size], body[len(body)-size:]
		if !hmac.Equal(c.mac(macHeader(seq, header, len(body)), body), tag) {
			return nil, errNotDecrypted
		}
	}
	block := c.block.BlockSize()
	if len(body) < 2*block || len(body)%block != 0 {
		return nil, errNotDecrypted
	}
	out := append(c.buf[:0], body[block:]...)
	c.buf = out
	cipher.NewCBCDecrypter(c.block, body[:block]).CryptBlocks(out, out)
	padding := int(out[len(out)-1]) + 1
	if padding > len(out) {
		return nil, errNotDecrypted
	}
	out = out[:len(out)-padding]
	if c.encryptThenMAC {
		return out, nil
	}
	if len(out) < size {
		return nil, errNotDecrypted
	}
	out, tag = out[:len(out)-size], out[len(out)-size:]
	if !hmac.Equal(c.mac(macHeader(seq, header, len(out)), out), tag) {
		return nil, errNotDecrypted
	}
	return out, nil
}

func (c *recordCipher) mac(parts ...[]byte) []byte {
	h := hmac.New(c.suite.mac, c.macKey)
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

// overhead is how many bytes longer a record is than its content; ok is false where that varies.
func (c *recordCipher) overhead() (n uint64, ok bool) {
	switch {
	case c.suite.kind == kindCBC:
		return 0, false
	case c.version == version13:
		return 5 + 1 + 16, true
	case c.suite.kind == kindGCM:
		return 5 + 8 + 16, true
	}
	return 5 + 16, true
}

// newCipher13 makes the cipher of a TLS 1.3 traffic secret.
func newCipher13(s suite, secret []byte) (*recordCipher, error) {
	key, err := expandLabel(s.hash, secret, "key", s.keyBytes)
	if err != nil {
		return nil, err
	}
	iv, err := expandLabel(s.hash, secret, "iv", 12)
	if err != nil {
		return nil, err
	}
	c := &recordCipher{suite: s, version: version13, iv: iv, secret: secret}
	return c, c.setKey(key)
}

// next is the cipher after a KeyUpdate.
func (c *recordCipher) next() (*recordCipher, error) {
	secret, err := expandLabel(c.suite.hash, c.secret, "traffic upd", len(c.secret))
	if err != nil {
		return nil, err
	}
	return newCipher13(c.suite, secret)
}

func (c *recordCipher) setKey(key []byte) (err error) {
	if c.suite.kind == kindChaCha {
		c.aead, err = chacha20poly1305.New(key)
		return err
	}
	if c.block, err = aes.NewCipher(key); err == nil && c.suite.kind == kindGCM {
		c.aead, err = cipher.NewGCM(c.block)
	}
	return err
}

// expandLabel is HKDF-Expand-Label of RFC 8446 with an empty context.
func expandLabel(h func() hash.Hash, secret []byte, label string, length int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(length))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	key, err := hkdf.Expand(h, secret, string(info), length)
	if err != nil {
		return nil, fmt.Errorf("derive %q: %w", label, err)
	}
	return key, nil
}

// newCiphers12 makes the ciphers of both directions from a TLS 1.2 master secret.
func newCiphers12(s suite, master []byte, clientRandom, serverRandom [32]byte, encryptThenMAC bool) (ciphers [2]*recordCipher, err error) {
	macBytes, ivBytes := 0, 4
	switch s.kind {
	case kindCBC:
		macBytes, ivBytes = s.mac().Size(), 0
	case kindChaCha:
		ivBytes = 12
	}
	seed := append(append([]byte("key expansion"), serverRandom[:]...), clientRandom[:]...)
	block := prf12(s.hash, master, seed, 2*(macBytes+s.keyBytes+ivBytes))
	// The block holds both MAC keys, both keys, then both IVs, the client's first.
	macKeys, keys, ivs := block[:2*macBytes], block[2*macBytes:2*(macBytes+s.keyBytes)], block[2*(macBytes+s.keyBytes):]
	for dir := range ciphers {
		c := &recordCipher{suite: s, version: version12, encryptThenMAC: encryptThenMAC}
		c.macKey = macKeys[dir*macBytes : (dir+1)*macBytes]
		c.iv = ivs[dir*ivBytes : (dir+1)*ivBytes]
		if err := c.setKey(keys[dir*s.keyBytes : (dir+1)*s.keyBytes]); err != nil {
			return ciphers, err
		}
		ciphers[dir] = c
	}
	return ciphers, nil
}

// prf12 is the pseudo-random function of TLS 1.2, RFC 5246 section 5; seed begins with the label.
func prf12(h func() hash.Hash, secret, seed []byte, length int) []byte {
	sum := func(parts ...[]byte) []byte {
		m := hmac.New(h, secret)
		for _, part := range parts {
			m.Write(part)
		}
		return m.Sum(nil)
	}
	var out []byte
	for a := sum(seed); len(out) < length; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:length]
}
