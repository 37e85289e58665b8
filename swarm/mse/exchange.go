package mse

import (
	"bytes"
	"crypto/rc4"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math/big"
)

// keyLen is the length of a public key, and of the secret, in bytes.
const keyLen = 96

// privateLen is that of a private key: 160 bits, as the specification advises.
const privateLen = 20

// primeHex is P of the specification: the 768-bit prime of Oakley group 1 (RFC
// 2409, 6.1) but for its last digits. The generator is 2.
const primeHex = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74" +
	"020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437" +
	"4fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563"

// keyPair is one side's part of the Diffie-Hellman exchange.
type keyPair struct {
	prime   *big.Int
	private *big.Int
	public  [keyLen]byte
}

func newKeyPair(random io.Reader) (keyPair, error) {
	var b [privateLen]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return keyPair{}, fmt.Errorf("make key: %w", err)
	}
	prime, _ := new(big.Int).SetString(primeHex, 16)
	k := keyPair{prime: prime, private: new(big.Int).SetBytes(b[:])}
	new(big.Int).Exp(big.NewInt(2), k.private, prime).FillBytes(k.public[:])
	return k, nil
}

// secret combines our private key with the peer's public one. Keys that lead to a publicly known
// secret are refused.
func (k keyPair) secret(peer *[keyLen]byte) (s [keyLen]byte, err error) {
	y := new(big.Int).SetBytes(peer[:])
	one := big.NewInt(1)
	if y.Cmp(one) <= 0 || y.Cmp(new(big.Int).Sub(k.prime, one)) >= 0 {
		return s, fmt.Errorf("%w: degenerate public key", ErrProtocol)
	}
	y.Exp(y, k.private, k.prime).FillBytes(s[:])
	return s, nil
}

// Lookup finds the torrent that a peer means by the [KeyID] of its info-hash.
type Lookup func(id [20]byte) (key [20]byte, ok bool)

// KeyID is the name of an info-hash in an incoming handshake: HASH("req2", SKEY). A client with
// many torrents keeps them in a map by it.
func KeyID(key [20]byte) [20]byte { return hash("req2", key[:]) }

// Candidates is a Lookup that tries a few info-hashes one by one.
func Candidates(keys iter.Seq[[20]byte]) Lookup {
	return func(id [20]byte) (key [20]byte, ok bool) {
		for k := range keys {
			if c := KeyID(k); subtle.ConstantTimeCompare(c[:], id[:]) == 1 {
				return k, true
			}
		}
		return key, false
	}
}

func hash(label string, parts ...[]byte) (sum [20]byte) {
	h := sha1.New()
	_, _ = io.WriteString(h, label)
	for _, p := range parts {
		_, _ = h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}

// cipher is one direction's RC4, its first bytes dropped.
func (x *exchange) cipher(label string, key [20]byte) *rc4.Cipher {
	k := hash(label, x.secret[:], key[:])
	c, err := rc4.NewCipher(k[:])
	if err != nil {
		panic(err) // only for a key of 0 or more than 256 bytes
	}
	var b [dropped]byte
	c.XORKeyStream(b[:], b[:])
	return c
}

func (x *exchange) sendPublic() error {
	msg, err := x.pad(append(make([]byte, 0, keyLen+maxPad), x.keys.public[:]...))
	if err != nil {
		return err
	}
	if _, err := x.nc.Write(msg); err != nil {
		return fmt.Errorf("send public key: %w", err)
	}
	return nil
}

// readPublic reads the peer's public key, of which first was already read.
func (x *exchange) readPublic(first []byte) error {
	var peer [keyLen]byte
	n := copy(peer[:], first)
	if _, err := io.ReadFull(x.nc, peer[n:]); err != nil {
		return fmt.Errorf("read public key: %w", err)
	}
	var err error
	x.secret, err = x.keys.secret(&peer)
	return err
}

// pad appends a random number of random bytes.
func (x *exchange) pad(b []byte) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(x.rand, n[:]); err != nil {
		return nil, fmt.Errorf("make pad: %w", err)
	}
	at := len(b)
	b = append(b, make([]byte, int(binary.BigEndian.Uint16(n[:]))%maxPad)...)
	if _, err := io.ReadFull(x.rand, b[at:]); err != nil {
		return nil, fmt.Errorf("make pad: %w", err)
	}
	return b, nil
}

// scan skips a pad, up to and with the mark that ends it. It reads no more at a
// time than must still come at the least, and so nothing of what follows.
func (x *exchange) scan(mark []byte) error {
	var room [maxPad + 20]byte
	b := room[:maxPad+len(mark)]
	for n := 0; ; {
		have := overlap(b[:n], mark)
		if have == len(mark) {
			return nil
		}
		missing := len(mark) - have
		if n+missing > len(b) {
			return ErrSync
		}
		k, err := io.ReadFull(x.nc, b[n:n+missing])
		if err != nil {
			return fmt.Errorf("find synchronisation mark: %w", err)
		}
		n += k
	}
}

// overlap is the length of the longest beginning of mark that b ends with.
func overlap(b, mark []byte) int {
	n := min(len(b), len(mark))
	for !bytes.HasSuffix(b, mark[:n]) {
		n--
	}
	return n
}

// read reads and decrypts exactly len(b) bytes.
func (x *exchange) read(b []byte) error {
	if _, err := io.ReadFull(x.nc, b); err != nil {
		return err
	}
	x.in.XORKeyStream(b, b)
	return nil
}

func (x *exchange) readUint16() (uint16, error) {
	var b [2]byte
	err := x.read(b[:])
	return binary.BigEndian.Uint16(b[:]), err
}

func (x *exchange) readUint32() (uint32, error) {
	var b [4]byte
	err := x.read(b[:])
	return binary.BigEndian.Uint32(b[:]), err
}

// skipPad reads a pad that has its length before it.
func (x *exchange) skipPad(name string) error {
	n, err := x.readUint16()
	if err != nil {
		return fmt.Errorf("read length of %s: %w", name, err)
	}
	if n > maxPad {
		return fmt.Errorf("%w: %s of %d bytes", ErrProtocol, name, n)
	}
	var b [maxPad]byte
	if err := x.read(b[:n]); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func appendCounted(b, p []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
	return append(b, p...)
}
