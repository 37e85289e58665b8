package dht

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"
	"time"
)

// tokenLife is how long tokens are made with one secret. They are valid for
// one to two such times, ten minutes at the most, as BEP 5 suggests.
const tokenLife = 5 * time.Minute

// tokens makes and checks the tokens that prove that an announcing node receives packets at its
// address (BEP 5). They are not stored.
type tokens struct {
	secret  [2][16]byte // the present and the previous one
	changed time.Time
	fresh   func() [16]byte // draws a secret
}

func (t *tokens) rotate(now time.Time) {
	switch age := now.Sub(t.changed); {
	case t.changed.IsZero() || age >= 2*tokenLife:
		t.secret = [2][16]byte{t.fresh(), t.fresh()}
	case age >= tokenLife:
		t.secret = [2][16]byte{t.fresh(), t.secret[0]}
	default:
		return
	}
	t.changed = now
}

func (t *tokens) make(now time.Time, addr netip.Addr) string {
	t.rotate(now)
	return sign(t.secret[0], addr)
}

func (t *tokens) valid(now time.Time, addr netip.Addr, token string) bool {
	t.rotate(now)
	for _, s := range t.secret {
		if hmac.Equal([]byte(token), []byte(sign(s, addr))) {
			return true
		}
	}
	return false
}

func sign(secret [16]byte, addr netip.Addr) string {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write(addr.AsSlice())
	return string(mac.Sum(nil)[:8])
}
