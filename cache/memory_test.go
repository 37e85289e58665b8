package cache

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"torrentfs/metainfo"
)

func newTestMemory(t testing.TB, limit int64) *memory {
	m, err := newMemory(limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m
}

// settle waits for all that is on its way to ristretto.
func (m *memory) settle() {
	for len(m.evicted) > 0 {
		runtime.Gosched()
	}
	m.rist.Wait()
}

// access is what a read that goes to disk on a miss does to the tier.
func (m *memory) access(key uint64) (hit bool) {
	if m.get(key) != nil {
		return true
	}
	if m.again(key) {
		m.add(key, make([]byte, metainfo.BlockSize), true)
	}
	return false
}

const testMemory = 8 << 20 // 512 blocks

// A loop over more than fits is where an LRU has no hit at all.
func TestMemoryLoop(t *testing.T) {
	m := newTestMemory(t, testMemory)
	const blocks, rounds = 1024, 12
	hits, total := 0, 0
	for round := range rounds {
		for key := range uint64(blocks) {
			hit := m.access(key)
			if round >= rounds/2 {
				total++
				if hit {
					hits++
				}
			}
			if key%64 == 0 {
				m.settle()
			}
		}
	}
	rate := float64(hits) / float64(total)
	t.Logf("hit rate %.2f of a loop over twice the memory (an LRU: 0)", rate)
	if rate < 0.2 {
		t.Errorf("hit rate %.2f, want 0.2", rate)
	}
}

// A hot set stays while a scan of a hundred times the memory goes by.
func TestMemoryHotSet(t *testing.T) {
	m := newTestMemory(t, testMemory)
	rng := rand.New(rand.NewPCG(1, 1))
	const hot = 200
	hits, total := 0, 0
	for scan := range uint64(50_000) {
		m.access(1<<30 + scan)
		if scan%4 == 0 {
			hit := m.access(rng.Uint64N(hot))
			if scan > 10_000 {
				total++
				if hit {
					hits++
				}
			}
		}
		if scan%64 == 0 {
			m.settle()
		}
	}
	rate := float64(hits) / float64(total)
	t.Logf("hit rate %.3f on the hot set", rate)
	if rate < 0.9 {
		t.Errorf("hit rate %.3f on the hot set, want 0.9", rate)
	}
}

// New blocks that are read a few times soon after they came are hits: that is
// the window's doing.
func TestMemoryStream(t *testing.T) {
	m := newTestMemory(t, testMemory)
	hits, total := 0, 0
	for key := range uint64(5000) {
		m.add(key, make([]byte, metainfo.BlockSize), false)
		for back := range min(key, 8) {
			total++
			if m.get(key-back) != nil {
				hits++
			}
		}
	}
	if hits != total {
		t.Errorf("%d hits of %d reads of the newest blocks", hits, total)
	}
}

func TestMemoryScanIsNotKept(t *testing.T) {
	m := newTestMemory(t, testMemory)
	for key := range uint64(5000) {
		m.access(key)
	}
	m.settle()
	for i := range m.window {
		if n := len(m.window[i].items); n != 0 {
			t.Errorf("%d blocks that were read once are in the window", n)
		}
	}
}

// The tier stays within its limit whatever the length of the blocks and
// however fast they come.
func TestMemoryBound(t *testing.T) {
	for _, size := range []int{1, 1000, metainfo.BlockSize} {
		m := newTestMemory(t, testMemory)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for key := range uint64(8 * testMemory / (size + itemOverhead)) {
			m.add(key, make([]byte, size), true)
			if key%5 == 0 {
				m.get(key / 2)
			}
		}
		m.settle()
		runtime.GC()
		runtime.ReadMemStats(&after)
		used := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		t.Logf("%5d-byte blocks: %d KiB of %d KiB", size, used>>10, testMemory>>10)
		if used > testMemory*5/4 {
			t.Errorf("%d-byte blocks: %d bytes are used of %d", size, used, testMemory)
		}
		for i := range m.window {
			if w := &m.window[i]; w.size > w.limit {
				t.Errorf("window shard has %d bytes of %d", w.size, w.limit)
			}
		}
		runtime.KeepAlive(m)
	}
}

func TestLRU(t *testing.T) {
	var l lru
	one := (&lruItem{data: make([]byte, 10)}).cost()
	l.init(3 * one)
	for key := range uint64(3) {
		l.add(key, make([]byte, 10), false)
	}
	l.get(0)
	l.add(3, make([]byte, 10), false)
	out, ok := l.overflow()
	if !ok || out.key != 1 || out.read {
		t.Errorf("block %d goes (%v), want 1", out.key, ok)
	}
	if _, ok := l.overflow(); ok {
		t.Error("one too many goes")
	}
	l.add(4, make([]byte, 10), false)
	if out, _ := l.overflow(); out.key != 2 {
		t.Errorf("block %d goes, want 2", out.key)
	}
	l.add(5, make([]byte, 10), false)
	if out, _ := l.overflow(); out.key != 0 || !out.read {
		t.Errorf("block %d (read: %v) goes, want 0 (read)", out.key, out.read)
	}
}
