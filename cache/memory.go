package cache

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"

	"torrentfs/metainfo"
)

const (
	itemOverhead  = 192     // bytes that ristretto and we spend on an item besides its data (measured)
	setsInFlight  = 1 << 20 // bytes given to ristretto before waiting for it
	maxQueue      = 8 << 20 // bytes on their way from the window to ristretto
	windowShards  = 8       // a power of two
	ghostPerBlock = 4       // entries of the ghost table per block of memory
)

// memory is the memory tier: verified blocks, shared by all stores of a cache.
//
// New blocks enter an exact LRU window; what falls out of it goes to
// ristretto, whose admission keeps what is read often through loops and scans
// that would empty an LRU. One goroutine does all Sets, because ristretto
// queues and drops them at will and must not be closed under one: a block may
// always be missing here, and is then found on disk.
//
// While ristretto has room every block moves on; when it is full only those
// that were read, since a Set costs more than all else that is done with
// a block in memory.
type memory struct {
	window [windowShards]lru
	rist   *ristretto.Cache[uint64, []byte]
	full   atomic.Bool // ristretto has no more room

	// ghost remembers which blocks were read from disk not long ago. It is
	// written without care for races: a lost entry costs one more miss.
	ghost []atomic.Uint64

	evicted chan promotion
	done    chan struct{}
	wg      sync.WaitGroup
}

type promotion struct {
	key  uint64
	data []byte
}

func newMemory(limit int64) (*memory, error) {
	window := min(max(limit/8, windowShards*4*metainfo.BlockSize), 32<<20)
	queue := min(limit/16, maxQueue)
	batch := min(limit/16, setsInFlight)
	main := max(limit-window-queue-batch, metainfo.BlockSize+itemOverhead)
	items := main/metainfo.BlockSize + 1
	r, err := ristretto.NewCache(&ristretto.Config[uint64, []byte]{
		NumCounters: max(10*items, 1024), MaxCost: main, BufferItems: 64,
		IgnoreInternalCost: true, // itemOverhead has it
	})
	if err != nil {
		return nil, fmt.Errorf("make memory cache: %w", err)
	}
	ghosts := 1
	for int64(ghosts) < ghostPerBlock*limit/metainfo.BlockSize {
		ghosts *= 2
	}
	m := &memory{
		rist:    r,
		ghost:   make([]atomic.Uint64, ghosts),
		evicted: make(chan promotion, max(queue/metainfo.BlockSize, 1)),
		done:    make(chan struct{}),
	}
	for i := range m.window {
		m.window[i].init(window / windowShards)
	}
	m.wg.Add(1)
	go m.promote(batch)
	return m, nil
}

// close must come after the last get and add.
func (m *memory) close() {
	close(m.done)
	m.wg.Wait()
	m.rist.Close()
}

// get returns the block, which nobody changes, or nil.
func (m *memory) get(key uint64) []byte {
	if b := m.window[key%windowShards].get(key); b != nil {
		return b
	}
	b, _ := m.rist.Get(key)
	return b
}

// add inserts a block into the window; read reports that it was read.
func (m *memory) add(key uint64, data []byte, read bool) {
	w := &m.window[key%windowShards]
	w.add(key, data, read)
	for {
		out, ok := w.overflow()
		if !ok {
			return
		}
		if !out.read && m.full.Load() {
			continue
		}
		select {
		case m.evicted <- promotion{out.key, out.data}:
		default: // more than ristretto can take: the disk has it
		}
	}
}

// again reports whether the block was read from disk before, not too long
// ago, and notes that it is now. Data that is read once, however much of it,
// is left to the page cache; what comes again is worth its copy in memory.
func (m *memory) again(key uint64) bool {
	// Fibonacci hashing spreads neighbours over the table.
	slot := &m.ghost[(key*0x9E3779B97F4A7C15>>20)&uint64(len(m.ghost)-1)]
	return slot.Swap(key+1) == key+1
}

// promote is the only one to call Set, and waits for ristretto every so many
// bytes: its queue is bounded by count, not by size.
func (m *memory) promote(batch int64) {
	defer m.wg.Done()
	var inFlight int64
	for {
		select {
		case <-m.done:
			return
		case p := <-m.evicted:
			m.rist.Set(p.key, p.data, int64(len(p.data))+itemOverhead)
			if inFlight += int64(len(p.data)); inFlight >= batch {
				m.rist.Wait()
				m.full.Store(m.rist.RemainingCost() < 2*batch)
				inFlight = 0
			}
		}
	}
}

// lru is one shard of the window: the blocks last added or read.
type lru struct {
	mu    sync.Mutex
	items map[uint64]*lruItem
	head  lruItem // ring: head.next is the newest, head.prev the oldest
	spare *lruItem
	size  int64
	limit int64
}

type lruItem struct {
	key        uint64
	data       []byte
	read       bool
	prev, next *lruItem
}

func (it *lruItem) cost() int64 { return int64(len(it.data)) + itemOverhead }

func (l *lru) init(limit int64) {
	l.items = make(map[uint64]*lruItem)
	l.head.prev, l.head.next = &l.head, &l.head
	l.limit = limit
}

func (l *lru) get(key uint64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	it := l.items[key]
	if it == nil {
		return nil
	}
	it.read = true
	l.front(it)
	return it.data
}

func (l *lru) add(key uint64, data []byte, read bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it := l.items[key]
	if it == nil { // else it is the same: the content of a verified block never changes
		it = l.spare
		if l.spare = nil; it == nil {
			it = new(lruItem)
		}
		it.key, it.data = key, data
		l.items[key] = it
		l.size += it.cost()
	}
	it.read = it.read || read
	l.front(it)
}

// overflow takes the oldest block out if there is more than fits.
func (l *lru) overflow() (out lruItem, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.head.prev
	if l.size <= l.limit || oldest == &l.head {
		return lruItem{}, false
	}
	l.size -= oldest.cost()
	delete(l.items, oldest.key)
	oldest.prev.next, oldest.next.prev = oldest.next, oldest.prev
	out = *oldest
	*oldest = lruItem{}
	l.spare = oldest
	return out, true
}

// front makes it the newest, whether it is in the ring already or not.
func (l *lru) front(it *lruItem) {
	if it.prev != nil {
		it.prev.next, it.next.prev = it.next, it.prev
	}
	it.prev, it.next = &l.head, l.head.next
	it.prev.next, it.next.prev = it, it
}
