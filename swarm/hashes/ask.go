package hashes

import (
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// state is where a request for hashes stands.
type state uint8

const (
	none        state = iota // in a step: the event changes nothing
	gone                     // answered, or of no use any more: it is forgotten
	layer                    // sent, for nodes of a piece layer: there is one try
	held                     // not sent: a lazy peer is given time to read the block that it was asked for
	asked                    // sent, for leaves
	delayed                  // sent after it was held
	again                    // rejected, and sent again at once
	waiting                  // rejected twice: it is sent when the peer has sent a block of the piece
	last                     // sent after the peer had sent a block of the piece: there is no other try
	overdue                  // given up at the first try; a late answer is as good as any
	late                     // given up at a later try; likewise
	lateWaiting              // given up while it was not sent: it is sent once more when a block comes
	refused                  // given up, and no answer comes: the peer has not read of the piece
	numStates
)

var stateNames = [numStates]string{
	"none", "gone", "layer", "held", "asked", "delayed", "again", "waiting", "last", "overdue", "late", "lateWaiting", "refused",
}

func (s state) String() string { return stateNames[s] }

// givenUp reports whether nobody counts on an answer any more.
func (s state) givenUp() bool { return s >= overdue }

// unsent reports whether an event is awaited before the request is sent.
func (s state) unsent() bool { return s == held || s == waiting || s == lateWaiting }

// event is what happens to a request.
type event uint8

const (
	pauseOver     event = iota // the pause of a lazy peer
	blockCame                  // the peer has sent a block of the piece
	rejectedRead               // rejected by a peer that has sent of the piece, and so has read of it
	rejectedOwing              // rejected by a peer that is still to send of it
	rejectedIdle               // rejected by a peer that is to send nothing of it
	peerGivenUp                // the peer proves nothing, for now
	notOwed                    // the peer is to send nothing of the piece any more
	numEvents
)

// effect is what a step causes besides, in this order.
type effect uint8

const (
	pauseLayers effect = 1 << iota // the peer is asked for no piece layers for a while
	markLazy                       // the peer proves leaves only when it has read of the piece
	send                           // the request is sent
	giveUpPeer                     // the peer is asked for no leaves for a while
	askOthers                      // others are asked for the leaves
	askProver                      // meanwhile one that has proven leaves before is asked
)

// step is a transition of a request.
type step struct {
	next state
	do   effect
}

// transitions is what becomes of a request. An answer, right or wrong, ends it
// in each state.
//
// libtorrent in seed mode, in which it has not hashed its own data, rejects
// requests for the leaves of a piece until it has read of it for a peer. It
// reads a block when it queues it, so the second try is made at once, and the
// last when a block of the piece has come from it. A peer that is to send
// nothing of the piece is of no use for it.
var transitions = [numStates][numEvents]step{
	layer: {
		rejectedIdle: {gone, pauseLayers},
		peerGivenUp:  {gone, 0},
	},
	held: {
		pauseOver:     {delayed, send},
		blockCame:     {last, send},
		rejectedRead:  {last, send},
		rejectedOwing: {again, markLazy | send},
		rejectedIdle:  {refused, askOthers},
		peerGivenUp:   {lateWaiting, askOthers},
		notOwed:       {refused, askOthers},
	},
	asked: {
		rejectedRead:  {last, send},
		rejectedOwing: {again, markLazy | send},
		rejectedIdle:  {refused, askOthers},
		peerGivenUp:   {overdue, askOthers},
	},
	delayed: {
		rejectedRead:  {last, send},
		rejectedOwing: {again, markLazy | send},
		rejectedIdle:  {refused, askOthers},
		peerGivenUp:   {late, askOthers},
	},
	again: {
		rejectedRead:  {last, send},
		rejectedOwing: {waiting, askProver},
		rejectedIdle:  {refused, askOthers},
		peerGivenUp:   {late, askOthers},
	},
	waiting: {
		blockCame:     {last, send},
		rejectedRead:  {last, send},
		rejectedOwing: {waiting, askProver},
		rejectedIdle:  {refused, askOthers},
		peerGivenUp:   {lateWaiting, askOthers},
		notOwed:       {refused, askOthers},
	},
	last: {
		rejectedRead:  {gone, giveUpPeer | askOthers},
		rejectedOwing: {gone, giveUpPeer | askOthers},
		rejectedIdle:  {gone, giveUpPeer | askOthers},
		peerGivenUp:   {late, askOthers},
	},
	overdue: {
		rejectedRead:  {gone, 0},
		rejectedOwing: {gone, 0},
		rejectedIdle:  {gone, 0},
		peerGivenUp:   {gone, 0},
	},
	late: {
		rejectedRead:  {gone, 0},
		rejectedOwing: {gone, 0},
		rejectedIdle:  {gone, 0},
		peerGivenUp:   {gone, 0},
	},
	lateWaiting: {
		blockCame:     {late, send},
		rejectedRead:  {gone, 0},
		rejectedOwing: {gone, 0},
		rejectedIdle:  {gone, 0},
		peerGivenUp:   {gone, 0},
		notOwed:       {refused, askOthers},
	},
	refused: {
		blockCame:     {gone, 0}, // now it has read of it, and may be asked again
		rejectedRead:  {gone, 0},
		rejectedOwing: {gone, 0},
		rejectedIdle:  {gone, 0},
		peerGivenUp:   {gone, 0},
	},
}

// ask is a request for hashes that a peer has not answered.
type ask struct {
	wire.HashRange
	file  *File
	piece metainfo.Piece // of leaves; noPiece: nodes of the piece layer
	state state
	sent  time.Duration // when it was last sent; 0: never
	due   time.Duration // when it is sent at the latest, if held
}

// noPiece is no piece.
const noPiece metainfo.Piece = -1

// covers reports whether the answer tells the leaf of a block.
func (a *ask) covers(b metainfo.Block) bool {
	if a.piece != b.Piece {
		return false
	}
	i := a.file.leafIndex(b.Piece) + b.Index - int(a.Index)
	return i >= 0 && i < int(a.Length)
}

// blocks calls f for the blocks whose leaves a request for leaves covers.
func (a *ask) blocks(f func(b metainfo.Block)) {
	first := int(a.Index) - a.file.leafIndex(a.piece)
	for i := max(first, 0); i < min(first+int(a.Length), a.file.Leaves(a.piece)); i++ {
		f(metainfo.Block{Piece: a.piece, Index: i})
	}
}
