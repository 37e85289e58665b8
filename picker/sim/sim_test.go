package sim

import (
	"testing"
	"time"

	"torrentfs/picker"
)

// TestInvariants plays short runs in every swarm with the picker's state checked after each step.
func TestInvariants(t *testing.T) {
	for _, sc := range Scenarios() {
		for _, leaf := range []bool{false, true} {
			name := sc.Name + "/v1"
			if leaf {
				name = sc.Name + "/v2"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := Setup{Scenario: sc, Piece: 256 << 10, Leaf: leaf, Busy: true, Seed: 7, Check: true}
				if r := Full(s, 24<<20); !r.Done {
					t.Error("download did not end")
				}
				w := s.world(64 << 20)
				w.Start()
				w.client.download(true)
				served := 0
				for i := range int64(24) {
					var id picker.ReadID
					w.at(time.Duration(i)*150*time.Millisecond, func() {
						off := i * 99 << 14 % (w.client.g.Size - 1<<20)
						id = w.client.read(picker.ReaderID(i%3), off, 64<<10, func(*Read) { served++ })
					})
					if i%4 == 3 {
						w.at(time.Duration(i)*150*time.Millisecond+60*time.Millisecond, func() { w.client.cancelRead(id) })
					}
				}
				w.Run(8 * time.Second)
				if served < 12 {
					t.Errorf("%d of 24 reads served", served)
				}
			})
		}
	}
}
