package cache

import "sync/atomic"

// gate counts the calls that are inside of a store, so that Close can wait
// for them. It costs two atomic additions a call and never blocks a caller.
type gate struct {
	n    atomic.Int64 // calls inside; shut adds gateShut
	idle chan struct{}
}

const gateShut = int64(1) << 62

func newGate() *gate { return &gate{idle: make(chan struct{}, 1)} }

// enter reports false after shut. Each true is paired with one leave.
func (g *gate) enter() bool {
	if g.n.Add(1) > gateShut {
		g.leave()
		return false
	}
	return true
}

func (g *gate) leave() {
	if g.n.Add(-1) == gateShut {
		select {
		case g.idle <- struct{}{}:
		default:
		}
	}
}

// shut lets nobody in any more and waits for those inside. It is called once.
func (g *gate) shut() {
	if g.n.Add(gateShut) != gateShut {
		<-g.idle
	}
}
