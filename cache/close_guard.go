package cache

import "sync/atomic"

// closeGuard counts the calls that are inside of a store, so that Close can wait
// for them. It costs two atomic additions a call and never blocks a caller.
type closeGuard struct {
	n    atomic.Int64 // calls inside; shut adds guardShut
	idle chan struct{}
}

const guardShut = int64(1) << 62

func newCloseGuard() *closeGuard { return &closeGuard{idle: make(chan struct{}, 1)} }

// enter reports false after shut. Each true is paired with one leave.
func (g *closeGuard) enter() bool {
	if g.n.Add(1) > guardShut {
		g.leave()
		return false
	}
	return true
}

func (g *closeGuard) leave() {
	if g.n.Add(-1) == guardShut {
		select {
		case g.idle <- struct{}{}:
		default:
		}
	}
}

// shut lets nobody in any more and waits for those inside. It is called once.
func (g *closeGuard) shut() {
	if g.n.Add(guardShut) != guardShut {
		<-g.idle
	}
}
