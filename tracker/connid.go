package tracker

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"
	"time"
)

// idWindow is the granularity of connection ids. One is accepted in the window of its making and
// the two after it: for two to three minutes. BEP 15 lets clients use it for one and has trackers
// accept it for two.
const idWindow = time.Minute

// connIDs makes and checks connection ids without remembering any: an id is a
// MAC of the address and the time, so that packets with forged senders leave
// nothing behind. The port is not part of it, since NATs change ports.
type connIDs struct {
	macs sync.Pool // of hash.Hash: keyed HMACs
}

func (c *connIDs) init(secret [32]byte) {
	c.macs.New = func() any { return hmac.New(sha256.New, secret[:]) }
}

// at returns the id for an address in a window of time.
func (c *connIDs) at(addr netip.Addr, window int64) uint64 {
	mac := c.macs.Get().(hash.Hash)
	defer c.macs.Put(mac)
	mac.Reset()
	var b [24]byte
	ip := addr.As16()
	copy(b[:], ip[:])
	binary.BigEndian.PutUint64(b[16:], uint64(window))
	mac.Write(b[:])
	var sum [sha256.Size]byte
	return binary.BigEndian.Uint64(mac.Sum(sum[:0]))
}

// issue returns the id for an address at a time on the server's clock.
func (c *connIDs) issue(addr netip.Addr, now time.Duration) uint64 {
	return c.at(addr, int64(now/idWindow))
}

// valid reports whether id was issued to addr and is young enough.
func (c *connIDs) valid(id uint64, addr netip.Addr, now time.Duration) bool {
	window := int64(now / idWindow)
	for i := range int64(3) {
		if c.at(addr, window-i) == id {
			return true
		}
	}
	return false
}
