package picker_test

import (
	"fmt"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
)

// A reader is blocked on the last 20 KiB of a torrent of four pieces. The only peer is asked for the piece that holds them, and
// when its hash is right the read is done.
func Example() {
	const piece = 2 * picker.BlockSize
	p := picker.New(picker.Config{}, metainfo.NewGeometry(piece, 4*piece), 1)

	now := time.Duration(0)
	p.PeerAdd(now, 1, picker.PeerInfo{RTT: 20 * time.Millisecond, Seed: true})
	p.Choke(now, 1, false)
	p.Read(now, 7, metainfo.ByteRange{Off: 4*piece - 20<<10, Len: 20 << 10})

	for actions := p.Drain(nil); len(actions) > 0; actions = p.Drain(nil) {
		for _, a := range actions {
			switch a.Kind {
			case picker.Interested:
				fmt.Printf("tell peer %d: interested %v\n", a.Peer, a.On)
			case picker.Request:
				fmt.Printf("ask peer %d for block %d of piece %d\n", a.Peer, a.Block.Index, a.Block.Piece)
				now += 10 * time.Millisecond // it comes
				verdict := p.Received(now, a.Peer, a.Block)
				fmt.Printf("a %v block\n", verdict)
				if a.Block.Index == 1 {
					p.Verified(now, a.Block.Piece, true)
				}
			case picker.ReadDone:
				fmt.Printf("read %d is done\n", a.Read)
			}
		}
	}
	// Output:
	// tell peer 1: interested true
	// ask peer 1 for block 0 of piece 3
	// a new block
	// ask peer 1 for block 1 of piece 3
	// a new block
	// read 1 is done
}

// What nobody waits for comes in the background, if it is wanted: here the second piece, and nothing else.
func ExamplePicker_SetWant() {
	const piece = picker.BlockSize
	p := picker.New(picker.Config{}, metainfo.NewGeometry(piece, 3*piece), 1)
	p.PeerAdd(0, 1, picker.PeerInfo{Seed: true})
	p.Choke(0, 1, false)
	p.SetWant(0, []metainfo.ByteRange{{Off: piece, Len: 1}})
	for _, a := range p.Drain(nil) {
		if a.Kind == picker.Request {
			fmt.Println("piece", a.Block.Piece)
		}
	}
	// Output: piece 1
}

// A read that ends takes its requests back; what is wanted anyway stays requested.
func ExamplePicker_ReadCancel() {
	const piece = picker.BlockSize
	p := picker.New(picker.Config{ReadAhead: -1}, metainfo.NewGeometry(piece, 8*piece), 1)
	p.PeerAdd(0, 1, picker.PeerInfo{Seed: true})
	p.Choke(0, 1, false)
	id := p.Read(0, 1, metainfo.ByteRange{Off: 5 * piece, Len: 100})
	p.Drain(nil)
	p.ReadCancel(time.Second, id)
	for _, a := range p.Drain(nil) {
		if a.Kind == picker.Cancel {
			fmt.Println("cancel piece", a.Block.Piece)
		}
	}
	// Output: cancel piece 5
}
