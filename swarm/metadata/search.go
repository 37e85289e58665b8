package metadata

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

const (
	patience     = 15 * time.Second  // for what a peer is to send next
	idlePatience = 100 * time.Second // for a peer that is asked for nothing: it may tell of others, or be asked yet
	never        = time.Duration(1<<63 - 1)

	maxDrafts  = 4                    // that are kept and have no peer
	maxDrafted = 2 * wire.MaxMetadata // bytes of all drafts together
)

// Reasons for which a peer is dropped.
var (
	ErrNone      = errors.New("peer has no metadata to give")
	ErrTooMany   = errors.New("peers claim metadata of too many sizes")
	ErrImpatient = errors.New("peer sends nothing of use")
)

// ActionKind is what is to be done.
type ActionKind uint8

// The kinds of action.
const (
	Request ActionKind = iota // Block of Peer
	Reject                    // Peer's request for Block: we have none either
	Idle                      // Peer has no metadata, and is kept for what it tells of others
	Drop                      // Peer, because of Err
)

// Action is one thing for the owner to do.
type Action struct {
	Kind  ActionKind
	Peer  picker.PeerID
	Block int
	Err   error
}

// Search is one search for metadata. It belongs to one goroutine.
type Search struct {
	hash    metainfo.InfoHash
	peers   map[picker.PeerID]*peer
	bySize  map[int64]*draft
	info    []byte
	givers  []netip.AddrPort
	actions []Action
}

// peer is what a search knows of a connection.
type peer struct {
	id     picker.PeerID
	addr   netip.AddrPort
	waited time.Duration // since when it owes us something
	draft  *draft        // nil: it did not say that it has the metadata
	speaks bool          // ut_metadata
	idle   bool
	going  bool // the owner was told to drop it
}

// New returns a search for the metadata of an info-hash.
func New(hash metainfo.InfoHash) *Search {
	return &Search{hash: hash, peers: map[picker.PeerID]*peer{}, bySize: map[int64]*draft{}}
}

// Join tells of a connection; one that does not know the extension protocol (BEP 10) is of no use.
func (s *Search) Join(now time.Duration, id picker.PeerID, addr netip.AddrPort, extended bool) {
	p := &peer{id: id, addr: addr, waited: now}
	s.peers[id] = p
	if !extended {
		s.drop(p, ErrNone)
	}
}

// Leave tells that a connection has ended. What the peer was asked for is asked of others.
func (s *Search) Leave(now time.Duration, id picker.PeerID) {
	p := s.peers[id]
	delete(s.peers, id)
	if p == nil || p.draft == nil {
		return
	}
	d := p.draft
	d.release(id)
	if d.users--; d.users == 0 && len(s.bySize) > maxDrafts {
		delete(s.bySize, d.size)
	}
	s.refill(now, d)
}

// refill asks the peers of a draft for what was given back.
func (s *Search) refill(now time.Duration, d *draft) {
	var users []*peer
	for _, p := range s.peers {
		if p.draft == d && !p.idle {
			users = append(users, p)
		}
	}
	slices.SortFunc(users, byID)
	for _, p := range users {
		if !d.owes(p.id) {
			s.ask(now, p)
		}
	}
}

func byID(a, b *peer) int { return cmp.Compare(a.id, b.id) }

// Introduced takes what a peer's extension handshake says, which may come again with changes: that it speaks ut_metadata,
// of what size the metadata is (0: not said), and whether it tells of other peers (BEP 11).
func (s *Search) Introduced(now time.Duration, id picker.PeerID, speaks bool, size int64, pex bool) {
	p := s.peers[id]
	switch {
	case p == nil:
		return
	case size > wire.MaxMetadata:
		s.drop(p, fmt.Errorf("%w: metadata of %d bytes", wire.ErrProtocol, size))
		return
	}
	p.speaks = speaks
	if !speaks || size <= 0 && p.draft == nil {
		s.setIdle(now, p, pex)
		return
	}
	if p.draft == nil {
		if s.bySize[size] == nil {
			s.bySize[size] = newDraft(size)
		}
		p.draft = s.bySize[size]
		p.draft.users++
	}
	s.ask(now, p)
}

// Heard takes a message of BEP 9, and the ownership of its data; pex tells whether the peer tells of others.
func (s *Search) Heard(now time.Duration, id picker.PeerID, m *wire.Metadata, pex bool) {
	p := s.peers[id]
	if p == nil {
		return
	}
	switch m.Type {
	case wire.MetadataRequest:
		if p.speaks {
			s.do(Action{Kind: Reject, Peer: id, Block: m.Piece})
		}
	case wire.MetadataReject:
		s.setIdle(now, p, pex)
	case wire.MetadataData:
		s.take(now, p, m)
	}
}

// setIdle keeps a peer that has no metadata, if it tells of others.
func (s *Search) setIdle(now time.Duration, p *peer, pex bool) {
	if p.draft != nil {
		p.draft.release(p.id)
		defer s.refill(now, p.draft)
	}
	switch {
	case p.idle:
	case !pex:
		s.drop(p, ErrNone)
	default:
		p.idle = true
		s.do(Action{Kind: Idle, Peer: p.id})
	}
}

// ask requests of a peer what it is to be asked for now.
func (s *Search) ask(now time.Duration, p *peer) {
	if s.info != nil || p.going {
		return
	}
	for _, i := range p.draft.assign(p.id) {
		p.waited = now
		s.do(Action{Kind: Request, Peer: p.id, Block: i})
	}
}

// take adds a block to the draft and checks the hash of a draft that is whole.
func (s *Search) take(now time.Duration, p *peer, m *wire.Metadata) {
	d := p.draft
	switch {
	case d == nil, s.info != nil, m.TotalSize != d.size, !d.put(p.id, p.addr, m.Piece, m.Data):
		return // late, or another peer was faster
	case s.drafted() > maxDrafted:
		d.empty(false)
		s.drop(p, ErrTooMany)
		return
	}
	p.waited = now
	if !d.whole() {
		s.ask(now, p)
		return
	}
	if s.judge(d) {
		s.drop(p, fmt.Errorf("%w: metadata with another hash", wire.ErrProtocol))
	}
	if s.info == nil {
		s.ask(now, p)
		s.refill(now, d)
	}
}

// judge looks whether a draft that is whole is what is sought, and reports whether it is not and one peer gave all of it.
func (s *Search) judge(d *draft) (liar bool) {
	if !matches(d.data, s.hash) {
		alone := len(d.gave) == 1
		d.empty(!alone) // of a mixture, each block comes from one peer from now on
		return alone
	}
	s.info = bytes.Join(d.data, nil)
	for _, addr := range d.gave {
		s.givers = append(s.givers, addr)
	}
	slices.SortFunc(s.givers, netip.AddrPort.Compare)
	return false
}

func matches(blocks [][]byte, h metainfo.InfoHash) bool {
	v1, v2 := sha1.New(), sha256.New()
	for _, b := range blocks {
		v1.Write(b)
		v2.Write(b)
	}
	return (!h.HasV1 || metainfo.SHA1(v1.Sum(nil)) == h.V1) && (!h.HasV2 || metainfo.SHA256(v2.Sum(nil)) == h.V2)
}

// drafted is the size of what came.
func (s *Search) drafted() (n int) {
	for _, d := range s.bySize {
		n += d.bytes
	}
	return n
}

// deadline is when a peer is given up that sends nothing of use.
func (p *peer) deadline() time.Duration {
	switch {
	case p.going:
		return never
	case p.idle, p.draft != nil && !p.draft.owes(p.id): // it owes us nothing
		return p.waited + idlePatience
	}
	return p.waited + patience
}

// Tick drops the peers that have sent nothing of use for long.
func (s *Search) Tick(now time.Duration) {
	var late []*peer
	for _, p := range s.peers {
		if p.deadline() <= now {
			late = append(late, p)
		}
	}
	slices.SortFunc(late, byID)
	for _, p := range late {
		s.drop(p, ErrImpatient)
	}
}

// NextDeadline returns when [Search.Tick] is due.
func (s *Search) NextDeadline() time.Duration {
	at := never
	for _, p := range s.peers {
		at = min(at, p.deadline())
	}
	return at
}

// Info is the info dictionary, nil until it is here. Its hash is right.
func (s *Search) Info() []byte { return s.info }

// Givers are the peers that gave a part of it.
func (s *Search) Givers() []netip.AddrPort { return s.givers }

// Progress is the size of the draft of which most is here, and how much of it that is, in bytes; 0 if no peer claimed any.
func (s *Search) Progress() (size, received int64) {
	for n, d := range s.bySize {
		got := min(int64(d.got.Count())*wire.MetadataBlock, n)
		if size == 0 || got > received || got == received && n < size {
			size, received = n, got
		}
	}
	return size, received
}

func (s *Search) drop(p *peer, why error) {
	if !p.going {
		p.going = true
		s.do(Action{Kind: Drop, Peer: p.id, Err: why})
	}
}

func (s *Search) do(a Action) { s.actions = append(s.actions, a) }

// Drain appends what is to be done, in this order, to buf, and forgets it. A peer may have left meanwhile.
func (s *Search) Drain(buf []Action) []Action {
	buf = append(buf, s.actions...)
	s.actions = s.actions[:0]
	return buf
}

// CheckInvariants reports the first contradiction in the search's state, for tests.
func (s *Search) CheckInvariants() error {
	users, idle := map[*draft]int{}, 0
	for id, p := range s.peers {
		if p.id != id {
			return fmt.Errorf("peer %d is found as %d", p.id, id)
		}
		if p.draft != nil {
			users[p.draft]++
		}
	}
	for size, d := range s.bySize {
		if d.size != size || d.users != users[d] || int64(d.bytes) > size || d.got.Count() > d.n {
			return fmt.Errorf("draft of %d bytes: %d users, %d counted, %d bytes", size, users[d], d.users, d.bytes)
		}
		if users[d] == 0 {
			idle++
		}
		if d.mixed && len(d.gave) > 1 {
			return fmt.Errorf("draft of %d bytes: %d peers filled it after a mixture failed", size, len(d.gave))
		}
	}
	if s.info != nil && !matches([][]byte{s.info}, s.hash) {
		return errors.New("the metadata has another hash")
	}
	if idle > maxDrafts {
		return fmt.Errorf("%d drafts are kept that have no peer", idle)
	}
	return nil
}
