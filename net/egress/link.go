package egress

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
	"weak"
)

// lookInterval is how often the interface is looked for.
const lookInterval = time.Second

// link is the interface that all sockets are bound to.
type link struct {
	name     string
	loopback bool
	log      *slog.Logger
	index    func() int // of the interface now, 0 if there is none; for tests
	done     chan struct{}
	once     sync.Once // closes done
	wg       sync.WaitGroup

	mu    sync.Mutex // guards what follows; a leaf
	at    int        // the index that sockets are bound to; 0: the interface is gone
	gen   int        // counts its changes
	conns []weak.Pointer[net.TCPConn]
	kept  map[rebindable]struct{}
}

// rebindable is a socket that listens.
type rebindable interface {
	// end closes the socket, and its owner waits for the next one.
	end()
	// rebind opens it again, if it was ended.
	rebind() error
}

func openLink(name string, log *slog.Logger) (*link, error) {
	if !canBind {
		return nil, fmt.Errorf("bind to interface %s: not possible on this system", name)
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("bind to interface %s: there is no such interface, but %s", name, interfaceNames())
	}
	l := &link{
		name: name, loopback: i.Flags&net.FlagLoopback != 0, log: log, index: func() int { return indexOf(name) },
		done: make(chan struct{}), at: i.Index, kept: map[rebindable]struct{}{},
	}
	l.wg.Go(l.watch)
	return l, nil
}

func indexOf(name string) int {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0
	}
	return i.Index
}

func interfaceNames() string {
	all, err := net.Interfaces()
	if err != nil || len(all) == 0 {
		return "none"
	}
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = a.Name
	}
	return strings.Join(names, ", ")
}

func (l *link) close() {
	l.once.Do(func() { close(l.done) })
	l.wg.Wait()
}

// watch follows the interface until close.
func (l *link) watch() {
	t := time.NewTicker(lookInterval)
	defer t.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-t.C:
			l.look()
		}
	}
}

// look closes the sockets that were bound to an earlier interface, and opens the listening ones
// again, until that succeeds.
func (l *link) look() {
	now := l.index()
	l.mu.Lock()
	before := l.at
	changed := now != before
	var conns []weak.Pointer[net.TCPConn]
	if changed {
		l.at = now
		l.gen++
		conns, l.conns = l.conns, nil
	}
	kept := make([]rebindable, 0, len(l.kept))
	for k := range l.kept {
		kept = append(kept, k)
	}
	l.mu.Unlock()
	if changed {
		for _, c := range conns {
			if c := c.Value(); c != nil {
				_ = c.Close() // it would never receive again
			}
		}
		for _, k := range kept {
			k.end()
		}
		if now == 0 {
			l.log.Warn("the interface is gone: nothing goes out until it is back", "interface", l.name)
		} else {
			l.log.Info("the interface is back", "interface", l.name)
		}
	}
	if now == 0 {
		return
	}
	for _, k := range kept {
		if err := k.rebind(); err != nil {
			l.log.Warn("a port cannot be opened again, trying on", "interface", l.name, "err", err)
		}
	}
}

func (l *link) gone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at == 0
}

// generation is to be asked before a socket is made that is to be tracked.
func (l *link) generation() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gen
}

// track ends c when the interface goes away.
func (l *link) track(c net.Conn, generation int) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if generation != l.gen {
		_ = tcp.Close() // never blocks: nothing lingers
		return
	}
	if len(l.conns) == cap(l.conns) { // it would grow: those that are no more are many, perhaps
		live := l.conns[:0]
		for _, w := range l.conns {
			if w.Value() != nil {
				live = append(live, w)
			}
		}
		l.conns = live
	}
	l.conns = append(l.conns, weak.Make(tcp))
}

// explain marks the error of a socket that the interface is missing for.
func (l *link) explain(err error) error {
	if errors.Is(err, syscall.ENODEV) || l.index() == 0 {
		return fmt.Errorf("interface %s is not there: %w", l.name, ErrDown)
	}
	return err
}

func (l *link) keep(k rebindable) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[k] = struct{}{}
}

func (l *link) drop(k rebindable) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.kept, k)
}
