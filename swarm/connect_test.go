package swarm

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
)

// Every two policies that have something in common get along, and no others:
// metadata and payload, whoever dials. Who demands encryption is reached within
// few round trips.
func TestEncryptionPolicies(t *testing.T) {
	const rtt = 50 * ms
	info, data := payload(t, 256<<10, 16<<10)
	name := map[Encryption]string{EncryptionPrefer: "prefer", EncryptionRequire: "require", EncryptionDisable: "disable"}
	for dialler := range name {
		for listener := range name {
			synctest.Test(t, func(t *testing.T) {
				net := simnet.New(1)
				defer net.Close()
				there := net.Host("10.0.1.1", simnet.Link{Delay: rtt / 2, Up: 100 * mbit})
				l, err := there.Listen("tcp", fmt.Sprintf(":%d", peerTCP))
				if err != nil {
					t.Fatal(err)
				}
				seed := NewSession(Config{Listener: l, Dialer: there, Seed: 1, Encryption: listener})
				defer seed.Close()
				add(t, seed, TorrentConfig{Info: info, Store: fullStore(info, data)})
				us := NewSession(Config{Dialer: net.Host("10.0.0.1", simnet.Link{}), Seed: 2, Encryption: dialler})
				defer us.Close()

				peers := []netip.AddrPort{netip.MustParseAddrPort("10.0.1.1:6881")}
				which := name[dialler] + " dials " + name[listener]
				store := newMemStore(info)
				tor := add(t, us, TorrentConfig{Info: info, Store: store, Peers: peers})
				r := tor.NewReader(nil)
				defer r.Close()
				possible := dialler == listener || dialler == EncryptionPrefer || listener == EncryptionPrefer
				if !possible {
					time.Sleep(time.Minute)
					if n := tor.Stats().Peers; n != 0 {
						t.Errorf("%s: %d connections", which, n)
					}
					return
				}
				begun := time.Now()
				got := make([]byte, 1000)
				if _, err := r.ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, data[:1000]) {
					t.Errorf("%s: read: %v", which, err)
				}
				// Plain: connect, handshake, request. MSE: one more for the keys, one for interest. Falling back: two more.
				if took := time.Since(begun); took > 7*rtt+rtt/2 {
					t.Errorf("%s: first byte after %v", which, took)
				}
				encrypted := dialler == EncryptionRequire || listener == EncryptionRequire
				if p := tor.Peers(); len(p) != 1 || p[0].Encrypted != encrypted {
					t.Errorf("%s: %+v, want it encrypted: %v", which, p, encrypted)
				}
				tor.Close()
				raw, _, err := us.FetchMetadata(t.Context(), MetadataConfig{Hash: info.Hash, Peers: peers})
				if err != nil || !bytes.Equal(raw, info.Bytes) {
					t.Errorf("%s: metadata: %v", which, err)
				}
			})
		}
	}
}
