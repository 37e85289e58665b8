package metadata

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

// dictionary is so many bytes, and their hash.
func dictionary(size int) ([]byte, metainfo.InfoHash) {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b, metainfo.InfoHash{HasV1: true, V1: sha1.Sum(b)}
}

func addrOf(id picker.PeerID) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, 8, 8, byte(id)}), 1)
}

// block is a data message; lie spoils it.
func block(info []byte, i int, lie bool) *wire.Metadata {
	b := bytes.Clone(info[i*wire.MetadataBlock : min((i+1)*wire.MetadataBlock, len(info))])
	if lie {
		b[0]++
	}
	return &wire.Metadata{Type: wire.MetadataData, Piece: i, TotalSize: int64(len(info)), Data: b}
}

// requested drains what a peer is asked for.
func requested(t testing.TB, s *Search) map[picker.PeerID][]int {
	t.Helper()
	asked := map[picker.PeerID][]int{}
	for _, a := range s.Drain(nil) {
		if a.Kind == Request {
			asked[a.Peer] = append(asked[a.Peer], a.Block)
		}
	}
	if err := s.CheckInvariants(); err != nil {
		t.Fatal(err)
	}
	return asked
}

// A draft mixed of right and wrong blocks is filled again by one peer alone.
func TestDraftSurvivesALiar(t *testing.T) {
	const honest, liar = 1, 2
	info, hash := dictionary(5*wire.MetadataBlock + 100)
	s := New(hash)
	for _, id := range []picker.PeerID{honest, liar} {
		s.Join(0, id, addrOf(id), true)
		s.Introduced(0, id, true, int64(len(info)), false)
	}
	first := requested(t, s)
	if len(first[honest]) == 0 || len(first[liar]) == 0 || first[honest][0] == first[liar][0] {
		t.Fatalf("asked for %v", first)
	}
	for _, i := range first[liar] {
		s.Heard(0, liar, block(info, i, true), false)
	}
	d := s.bySize[int64(len(info))]
	for next := first[honest]; !d.mixed; next = requested(t, s)[honest] {
		if len(next) == 0 { // the liar was asked, and sends no more
			s.Leave(0, liar)
			if next = requested(t, s)[honest]; len(next) == 0 {
				t.Fatal("the honest one is asked for nothing")
			}
		}
		for _, i := range next {
			s.Heard(0, honest, block(info, i, false), false)
		}
	}
	if s.Info() != nil {
		t.Fatal("a mixture is taken for the metadata")
	}
	if len(d.gave) != 0 || d.solo == nobody || !d.owes(d.solo) {
		t.Fatalf("after the mixture one peer is to be asked for all: %+v", d)
	}
	for i := range d.n {
		s.Heard(0, honest, block(info, i, false), false)
	}
	if !bytes.Equal(s.Info(), info) || len(s.Givers()) != 1 || s.Givers()[0] != addrOf(honest) {
		t.Errorf("one honest peer's draft is not the metadata; it is from %v", s.Givers())
	}
}

// A peer that gave all of a wrong dictionary is dropped.
func TestLiarIsDropped(t *testing.T) {
	info, hash := dictionary(3 * wire.MetadataBlock)
	s := New(hash)
	s.Join(0, 1, addrOf(1), true)
	s.Introduced(0, 1, true, int64(len(info)), false)
	for i := range 3 {
		s.Heard(0, 1, block(info, i, true), false)
	}
	acts := s.Drain(nil)
	if last := acts[len(acts)-1]; last.Kind != Drop || !errors.Is(last.Err, wire.ErrProtocol) {
		t.Errorf("%+v", acts)
	}
}

// Peers cannot make the search remember drafts of all sizes, nor take memory without end.
func TestDraftsAreBounded(t *testing.T) {
	s := New(metainfo.InfoHash{HasV1: true})
	for size := range int64(1000) {
		s.Join(0, 1, addrOf(1), true)
		s.Introduced(0, 1, true, size+1, false)
		s.Leave(0, 1)
	}
	if len(s.bySize) > maxDrafts {
		t.Errorf("%d drafts are kept that have no peer", len(s.bySize))
	}
	s.Drain(nil)
	b := make([]byte, wire.MetadataBlock)
	tooMany := false
	for size := int64(wire.MaxMetadata); !tooMany && size > wire.MaxMetadata-10; size-- {
		id := picker.PeerID(size)
		s.Join(0, id, addrOf(id), true)
		s.Introduced(0, id, true, size, false)
		for i := 0; i < s.bySize[size].n-1; i++ {
			s.Heard(0, id, &wire.Metadata{Type: wire.MetadataData, Piece: i, TotalSize: size, Data: b}, false)
		}
		for _, a := range s.Drain(nil) {
			tooMany = tooMany || a.Kind == Drop && a.Err == ErrTooMany
		}
	}
	if n := s.drafted(); !tooMany || n > maxDrafted {
		t.Errorf("drafts of %d bytes, and a peer is dropped: %v", n, tooMany)
	}
	s.Join(0, 5, addrOf(5), true)
	s.Introduced(0, 5, true, wire.MaxMetadata+1, false)
	if acts := s.Drain(nil); len(acts) != 1 || acts[0].Kind != Drop {
		t.Errorf("a claim of too much: %+v", acts)
	}
}

// Peers that send nothing of use are given up, those that have no metadata later than others.
func TestPatience(t *testing.T) {
	s := New(metainfo.InfoHash{HasV1: true})
	s.Join(0, 1, addrOf(1), true) // says nothing
	s.Join(0, 2, addrOf(2), true)
	s.Introduced(0, 2, false, 0, true) // tells of others
	s.Join(0, 3, addrOf(3), true)
	s.Introduced(0, 3, true, 100, false)
	s.Join(0, 4, addrOf(4), false)
	s.Join(0, 5, addrOf(5), true)
	s.Introduced(0, 5, true, 0, false) // neither metadata nor PEX
	dropped := map[picker.PeerID]time.Duration{}
	for now := time.Duration(0); ; now = s.NextDeadline() {
		s.Tick(now)
		for _, a := range s.Drain(nil) {
			if a.Kind == Drop {
				dropped[a.Peer] = now
			}
		}
		if s.NextDeadline() == never {
			break
		}
	}
	want := map[picker.PeerID]time.Duration{1: patience, 2: idlePatience, 3: patience, 4: 0, 5: 0}
	if fmt.Sprint(dropped) != fmt.Sprint(want) {
		t.Errorf("dropped %v, want %v", dropped, want)
	}
}

// Whatever peers say: the search contradicts itself nowhere, memory is bounded by what came, and an honest peer that stays
// is enough.
func TestAnyPeers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		info, hash := dictionary(rapid.IntRange(1, 6*wire.MetadataBlock).Draw(t, "size"))
		s := New(hash)
		const honest = 0
		peers := rapid.IntRange(1, 5).Draw(t, "peers")
		here := map[picker.PeerID]bool{}
		asked := map[picker.PeerID][]int{}
		now := time.Duration(0)
		perform := func() {
			for acts := s.Drain(nil); len(acts) > 0; acts = append(acts[1:], s.Drain(nil)...) {
				switch a := acts[0]; {
				case !here[a.Peer]:
					t.Fatalf("%+v to a peer that is not there", a)
				case a.Kind == Request:
					asked[a.Peer] = append(asked[a.Peer], a.Block)
				case a.Kind == Drop && a.Peer == honest:
					t.Fatalf("the honest peer is dropped: %v", a.Err)
				case a.Kind == Drop:
					delete(here, a.Peer)
					s.Leave(now, a.Peer)
				}
			}
			if err := s.CheckInvariants(); err != nil {
				t.Fatal(err)
			}
		}
		answer := func(id picker.PeerID, lie bool) {
			if len(asked[id]) > 0 {
				i := asked[id][0]
				asked[id] = asked[id][1:]
				s.Heard(now, id, block(info, i, lie), true)
			}
		}
		join := func(id picker.PeerID, size int64) {
			if !here[id] {
				here[id], asked[id] = true, nil
				s.Join(now, id, addrOf(id), true)
			}
			s.Introduced(now, id, true, size, true)
		}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			now += time.Millisecond
			id := picker.PeerID(rapid.IntRange(0, peers-1).Draw(t, "peer"))
			switch what := rapid.IntRange(0, 5).Draw(t, "what"); {
			case what == 0 || !here[id]:
				size := int64(len(info))
				if id != honest && rapid.IntRange(0, 3).Draw(t, "claim") == 0 {
					size = int64(rapid.IntRange(0, 100).Draw(t, "claimed"))
				}
				join(id, size)
			case what == 1 && id != honest:
				delete(here, id)
				s.Leave(now, id)
			case what == 2 && id != honest:
				s.Heard(now, id, &wire.Metadata{Type: wire.MetadataReject}, true)
			case what == 3:
				s.Heard(now, id, &wire.Metadata{Type: wire.MetadataRequest, Piece: 1}, true)
			default:
				answer(id, id != honest && rapid.Bool().Draw(t, "lie"))
			}
			perform()
		}
		join(honest, int64(len(info)))
		perform()
		for range 1000 {
			now += time.Second / 100
			answer(honest, false)
			perform()
			if s.Info() != nil {
				break
			}
			if len(asked[honest]) == 0 { // others are asked, and answer nothing
				now += patience
				for id := range here {
					if id != honest {
						delete(here, id)
						s.Leave(now, id)
						perform()
					}
				}
				if len(asked[honest]) == 0 {
					t.Fatal("nobody is asked for what lacks")
				}
			}
		}
		if !bytes.Equal(s.Info(), info) {
			t.Fatal("the honest peer was not enough")
		}
	})
}

var update = flag.Bool("update", false, "write the golden traces anew")

// A dictionary of six blocks from an honest peer, a liar and one without metadata, for a person to read.
func TestGoldenTrace(t *testing.T) {
	info, hash := dictionary(6 * wire.MetadataBlock)
	s := New(hash)
	var b strings.Builder
	names := map[picker.PeerID]string{1: "A", 2: "B", 3: "C", 4: "D"}
	at := func(now time.Duration, what string, do func(now time.Duration)) {
		fmt.Fprintf(&b, "%6v %s\n", now, what)
		do(now)
		for _, a := range s.Drain(nil) {
			kind := map[ActionKind]string{Request: "ask %s for block %d", Reject: "refuse %s block %d", Idle: "keep %s for what it tells of others", Drop: "drop %s: %[3]v"}[a.Kind]
			text, _, _ := strings.Cut(fmt.Sprintf(kind, names[a.Peer], a.Block, a.Err), "%!(EXTRA")
			fmt.Fprintf(&b, "%6v     -> %s\n", now, text)
		}
		if err := s.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
	}
	gives := func(id picker.PeerID, lie bool, blocks ...int) func(time.Duration) {
		return func(now time.Duration) {
			for _, i := range blocks {
				s.Heard(now, id, block(info, i, lie), false)
			}
		}
	}
	const ms = time.Millisecond
	at(0, "A and B have it, of six blocks; C has none and tells of others", func(now time.Duration) {
		for id := range picker.PeerID(3) {
			s.Join(now, id+1, addrOf(id+1), true)
			s.Introduced(now, id+1, id < 2, map[bool]int64{true: int64(len(info))}[id < 2], id == 2)
		}
	})
	at(50*ms, "A gives what it was asked for", gives(1, false, 0, 1))
	at(60*ms, "B gives wrong blocks", gives(2, true, 2, 3))
	at(70*ms, "B asks us for a block", func(now time.Duration) {
		s.Heard(now, 2, &wire.Metadata{Type: wire.MetadataRequest, Piece: 4}, false)
	})
	at(90*ms, "A gives the rest: the hash is wrong, and it may be either of them", gives(1, false, 4, 5))
	at(200*ms, "D claims another size", func(now time.Duration) {
		s.Join(now, 4, addrOf(4), true)
		s.Introduced(now, 4, true, 100, false)
	})
	at(15*time.Second+200*ms, "D gave nothing; A gave nothing more", func(now time.Duration) { s.Tick(now) })
	at(15*time.Second+300*ms, "both are gone", func(now time.Duration) { s.Leave(now, 1); s.Leave(now, 4) })
	at(16*time.Second, "B gives all blocks, and none is wrong", gives(2, false, 0, 1, 2, 3, 4, 5))
	fmt.Fprintf(&b, "%6s the metadata is here: %v, from %d peer\n", "", bytes.Equal(s.Info(), info), len(s.Givers()))
	file := filepath.Join("testdata", "liar.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the trace changed (go test -update writes it anew):\n%s", b.String())
	}
}
