package picker

import (
	"testing"
	"time"

	"torrentfs/metainfo"
)

// A hint asks for its own pieces and nothing else, and is over when it is closed.
func TestWillNeedAsksForItsPieces(t *testing.T) {
	const piece = 4 * BlockSize
	p := New(Config{}, metainfo.NewGeometry(piece, 64*piece), 1)
	p.PeerAdd(0, 1, PeerInfo{RTT: 10 * time.Millisecond, Reqq: 250})
	p.HaveAll(0, 1)
	p.Choke(0, 1, false)
	const hint = ReaderID(-5)
	p.WillNeed(0, hint, metainfo.ByteRange{Off: 7*piece + 1, Len: piece})
	now := time.Duration(0)
	asked := map[metainfo.Piece]int{}
	run := func() {
		for range 100 {
			p.Tick(now)
			for _, a := range p.Drain(nil) {
				if a.Kind == Request {
					asked[a.Block.Piece]++
					p.Received(now, 1, a.Block)
				}
			}
			now += 10 * time.Millisecond
		}
	}
	run()
	if len(asked) != 2 || asked[7] != 4 || asked[8] != 4 {
		t.Errorf("asked for %v, want the blocks of pieces 7 and 8", asked)
	}
	p.ReaderClose(now, hint)
	clear(asked)
	run()
	if len(asked) > 0 || len(p.readers.list) > 0 {
		t.Errorf("closed, it asked for %v; readers %v", asked, p.readers.list)
	}
	p.WillNeed(now, hint, metainfo.ByteRange{Off: 63 * piece, Len: 10 * piece}) // past the end
	p.WillNeed(now, hint-1, metainfo.ByteRange{Off: -5, Len: 3})                // before the begin
	p.WillNeed(now, hint-2, metainfo.ByteRange{Off: 64 * piece, Len: 3})
	run()
	if len(asked) != 2 || asked[0] != 4 || asked[63] != 4 {
		t.Errorf("asked for %v, want the first piece and the last", asked)
	}
}

// What a reader is expected to come to is asked for at once, with what it waits for, each block once; nothing is learned from it.
func TestExpectIsAsUrgentAsARead(t *testing.T) {
	const piece = 64 * BlockSize
	p := New(Config{LeafVerified: true}, metainfo.NewGeometry(piece, 16*piece), 1)
	p.SetWant(0, []metainfo.ByteRange{{Off: 0, Len: 16 * piece}})
	for id := range PeerID(4) {
		p.PeerAdd(0, id+1, PeerInfo{RTT: 10 * time.Millisecond, Reqq: 250})
		p.HaveAll(0, id+1)
	}
	const hint, reader = ReaderID(-5), ReaderID(1)
	expected := p.PrefetchUrgent(0, hint, metainfo.ByteRange{Off: 5*piece + 3*BlockSize, Len: 8 * BlockSize})
	p.Read(0, reader, metainfo.ByteRange{Off: 5*piece + 3*BlockSize, Len: 4096})
	for id := range PeerID(4) {
		p.Choke(0, id+1, false)
	}
	asked := map[metainfo.Block]int{}
	awaited := func(i int) metainfo.Block { return metainfo.Block{Piece: 5, Index: 3 + i} }
	var from []PeerID
	for _, a := range p.Drain(nil) {
		if a.Kind == Request && a.On {
			asked[a.Block]++
			from = append(from, a.Peer)
		}
	}
	for b := range 8 {
		if asked[awaited(b)] != 1 {
			t.Errorf("block %d was asked for %d times at once", 3+b, asked[awaited(b)])
		}
	}
	if len(asked) != 8 || len(p.readers.list) != 2 || p.readers.get(hint).window != 0 || p.readers.get(hint).run != 0 {
		t.Errorf("asked for %v of %v, reader %+v", asked, from, p.readers.get(hint))
	}
	done := map[ReadID]bool{}
	for b := range 8 {
		p.Received(time.Second, from[b], awaited(b))
		p.LeafVerified(time.Second, awaited(b), true)
	}
	for _, a := range p.Drain(nil) {
		if a.Kind == ReadDone {
			done[a.Read] = true
		}
	}
	if len(done) != 2 || !done[expected] {
		t.Errorf("done: %v", done)
	}
	p.PrefetchUrgent(time.Second, hint-1, metainfo.ByteRange{Off: 9 * piece, Len: 2 * BlockSize})
	p.ReaderClose(time.Second, hint)
	p.ReaderClose(time.Second, hint-1)
	if len(p.readers.list) != 1 || len(p.readers.blocked) != 0 {
		t.Errorf("closed, it has readers %v and reads %v", p.readers.list, p.readers.blocked)
	}
}
