package library

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// serveMetadata is a peer that has nothing but an info dictionary of one block.
func serveMetadata(t *testing.T, hash metainfo.InfoHash, info []byte) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	serve := func(c net.Conn) {
		defer c.Close()
		if _, err := wire.ReadHandshake(c); err != nil {
			return
		}
		out := wire.NewHandshake(hash.Wire(), [20]byte{1}, wire.FeatureExtension).Append(nil)
		hello := wire.ExtHandshake{M: map[string]uint8{wire.ExtMetadata: 7}, MetadataSize: int64(len(info))}
		if _, err := c.Write(wire.AppendExtended(out, 0, hello.Append(nil))); err != nil {
			return
		}
		r := wire.NewReader(c, wire.Limits{Features: wire.FeatureFast | wire.FeatureExtension})
		var m wire.Message
		var ids wire.ExtIDs
		for r.Next(&m) == nil {
			if m.ID != wire.Extended {
				continue
			}
			if h, err := wire.ParseExtHandshake(m.Payload); m.ExtID == 0 && err == nil {
				ids.Update(&h)
			} else if m.ExtID == 7 {
				answer := wire.Metadata{Type: wire.MetadataData, TotalSize: int64(len(info)), Data: info}
				_, _ = c.Write(wire.AppendExtended(nil, ids.Metadata, answer.Append(nil)))
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// A link whose metadata claims more than the limits allow is refused when the
// metadata is here, as a .torrent would be, before anything is made of it.
func TestMagnetBeyondTheLimits(t *testing.T) {
	l, err := Open(Config{DataDir: t.TempDir(), ListenAddr: "127.0.0.1:0", Encryption: EncryptionDisable})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(deadline(t)) })
	for _, length := range []int64{1 << 46, 1<<63 - 1} {
		info := fmt.Appendf(nil, "d9:file treed3:bigd0:d6:lengthi%de11:pieces root32:%seee12:meta versioni2e4:name3:big12:piece lengthi%dee",
			length, "0123456789abcdef0123456789abcdef", 512<<20)
		hash := metainfo.InfoHash{HasV2: true, V2: sha256.Sum256(info)}
		peer := serveMetadata(t, hash, info)
		_, err := l.Resolve(deadline(t), &metainfo.Magnet{Hash: hash}, ResolveOptions{Peers: []netip.AddrPort{peer}})
		if !errors.Is(err, metainfo.ErrLimit) || !errors.Is(err, ErrMetadata) {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}
