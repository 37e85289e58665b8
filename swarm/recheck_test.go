package swarm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/fakepeer"
	"torrentfs/internal/simnet"
	"torrentfs/swarm/pieces"
)

// pieces are those that a peer was asked for.
func requested(p *fakepeer.Peer) map[int]int {
	m := map[int]int{}
	for _, e := range p.Record().Requests {
		m[int(e.Piece)]++
	}
	return m
}

// Pieces that were verified and that the disk does not give back are fetched
// again, they alone; the read ends with the right bytes, also where everything
// was complete and the seed long gone.
func TestUnreadablePiecesAreFetchedAgain(t *testing.T) {
	inWorld(t, 4<<20, 64<<10, Config{}, func(w *world) {
		p := w.serve(wan(100, 20*ms), w.options("seed"))
		tor := w.add(TorrentConfig{Prefetch: true})
		w.await(tor, time.Minute)
		time.Sleep(time.Minute) // both have everything: the seed is not connected
		before := requested(p)
		w.store.mu.Lock()
		w.store.rotten = map[int]bool{3: true, 17: true}
		w.store.mu.Unlock()
		r := tor.NewReader(nil)
		defer r.Close()
		if took := w.read(r, 0, int(w.info.Size()), time.Minute); took > 5*time.Second {
			t.Errorf("took %v although the seed is at hand", took)
		}
		for piece, n := range requested(p) {
			if again := n > before[piece]; again != (piece == 3 || piece == 17) {
				t.Errorf("piece %d was fetched again: %v", piece, again)
			}
		}
		if s := tor.Stats(); s.Held != s.Pieces || s.Doubtful != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Pieces that the store puts in doubt by itself, long after everything was
// complete, are hashed; those that the disk lost are fetched again, they alone, and
// readers wait for them.
func TestPiecesInDoubtAreChecked(t *testing.T) {
	inWorld(t, 4<<20, 64<<10, Config{}, func(w *world) {
		p := w.serve(wan(100, 20*ms), w.options("seed"))
		tor := w.add(TorrentConfig{Prefetch: true})
		w.await(tor, time.Minute)
		time.Sleep(time.Minute) // both have everything: the seed is not connected
		before := requested(p)
		w.store.tell() // there are none
		w.store.mu.Lock()
		for piece := range 32 {
			w.store.unsynced = append(w.store.unsynced, piece)
		}
		for _, lost := range []int{3, 17} {
			clear(w.store.data[lost*64<<10:][:64<<10])
		}
		w.store.mu.Unlock()
		w.store.tell()
		synctest.Wait()
		r := tor.NewReader(nil)
		defer r.Close()
		if took := w.read(r, 0, int(w.info.Size()), time.Minute); took > 5*time.Second {
			t.Errorf("took %v although the seed is at hand", took)
		}
		for piece, n := range requested(p) {
			if again := n > before[piece]; again != (piece == 3 || piece == 17) {
				t.Errorf("piece %d was fetched again: %v", piece, again)
			}
		}
		if s := tor.Stats(); s.Held != s.Pieces || s.Doubtful != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A sector that stays unreadable costs an error, not a hang and not a loop.
func TestReadFailsWhereTheDiskNeverReads(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		tor := w.add(TorrentConfig{})
		w.store.mu.Lock()
		w.store.rotten = map[int]bool{3: true}
		w.store.mu.Unlock()
		r := tor.NewReader(nil)
		defer r.Close()
		w.read(r, 0, 3*64<<10, time.Minute) // what can be read is
		done := make(chan error, 1)
		go func() {
			_, err := r.ReadAt(context.Background(), make([]byte, 100), 3*64<<10)
			done <- err
		}()
		time.Sleep(time.Minute)
		select {
		case err := <-done:
			t.Errorf("read ended with %v although nobody has the piece", err)
		default: // waits for a peer, as for any missing piece
		}
		w.serve(wan(10, 20*ms), w.options("seed"))
		tor.Found(Introducer{}, w.peers)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A leecher that asks for a piece which cannot be read any more gets an
// answer, is told that we lack it, and gets it once we have it again.
func TestPeersHearOfLostPieces(t *testing.T) {
	inWorld(t, 2<<20, 64<<10, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		w.store.rotten = map[int]bool{5: true, 6: true}
		tor := w.add(TorrentConfig{})
		l := w.connect(simnet.Link{Delay: 10 * ms, Up: 10 * mbit}, w.leecher("leecher"))
		time.Sleep(time.Minute)
		rec := l.Record()
		if len(rec.DontHave) != 2 || len(rec.Errors) != 0 || rec.Open != 1 {
			t.Fatalf("don't-haves %v, errors %v, %d open", rec.DontHave, rec.Errors, rec.Open)
		}
		w.serve(wan(10, 20*ms), w.options("seed"))
		r := tor.NewReader(nil)
		defer r.Close()
		tor.Found(Introducer{}, w.peers)
		w.read(r, 5*64<<10, 2*64<<10, time.Minute)
		select {
		case <-l.Complete():
		case <-time.After(time.Minute):
			t.Errorf("the leecher has %d bytes of %d", l.Record().Downloaded, w.info.Size())
		}
	})
}

// A disk that takes nothing: reading goes on through all of the torrent in
// bounded memory, and the background does not fetch what would be given up.
func TestFullDiskBoundsMemory(t *testing.T) {
	const budget = 2 << 20
	inWorld(t, 16<<20, 64<<10, Config{}, func(w *world) {
		p := w.serve(wan(100, 20*ms), w.options("seed"))
		w.store.full = true
		tor := w.add(TorrentConfig{Prefetch: true, Memory: budget})
		time.Sleep(30 * time.Second) // the background fills what it may
		r := tor.NewReader(nil)
		defer r.Close()
		for off := int64(0); off < w.info.Size(); off += 256 << 10 {
			w.read(r, off, 256<<10, time.Minute)
			if d := w.store.Dirty(); d > 2*budget {
				t.Fatalf("%d bytes wait at offset %d, the budget is %d", d, off, budget)
			}
		}
		up := p.Record().Uploaded
		time.Sleep(5 * time.Minute)
		if more := p.Record().Uploaded - up; more > budget {
			t.Errorf("%d bytes fetched for nothing in five idle minutes", more)
		}
		w.store.mu.Lock()
		w.store.full, w.store.dirty = false, 0 // there is room again
		w.store.mu.Unlock()
		w.store.tell()
		w.await(tor, time.Minute)
	})
}

// Pieces that nobody else has, and that the disk does not read for a while,
// are not lost: whoever waits for them gets them once the disk reads again.
func TestTheDiskIsTriedAgain(t *testing.T) {
	inWorld(t, 2<<20, 64<<10, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		tor := w.add(TorrentConfig{})
		rot := func(pieces ...int) {
			w.store.mu.Lock()
			defer w.store.mu.Unlock()
			w.store.rotten = map[int]bool{}
			for _, p := range pieces {
				w.store.rotten[p] = true
			}
		}
		rot(3, 4, 5, 20)
		r := tor.NewReader(nil)
		defer r.Close()
		done := make(chan error, 1)
		go func() {
			buf := make([]byte, 3*64<<10)
			_, err := r.ReadAt(context.Background(), buf, 3*64<<10)
			if err == nil && !bytes.Equal(buf, w.data[3*64<<10:6*64<<10]) {
				err = errors.New("wrong bytes")
			}
			done <- err
		}()
		time.Sleep(5 * time.Minute)
		rot(4) // one stays bad: the others come back all the same
		time.Sleep(3 * pieces.LongestPause)
		if s := tor.Stats(); s.Held != s.Pieces-1 {
			t.Errorf("%d of %d pieces", s.Held, s.Pieces)
		}
		rot()
		if err := <-done; err != nil {
			t.Error(err)
		}
		time.Sleep(3 * pieces.LongestPause)
		if s := tor.Stats(); s.Held != s.Pieces || s.Doubtful != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A disk that works, and is behind, holds a reader to its pace: what it was
// given is not given up to fetch more.
func TestSlowDiskPacesReaders(t *testing.T) {
	const budget = 1 << 20
	inWorld(t, 8<<20, 64<<10, Config{}, func(w *world) {
		w.serve(wan(100, 20*ms), w.options("seed"))
		tor := w.add(TorrentConfig{Memory: budget})
		r := tor.NewReader(nil)
		defer r.Close()
		w.read(r, 0, 64<<10, time.Minute)
		behind := func(n int64) {
			w.store.mu.Lock()
			w.store.dirty = n
			w.store.mu.Unlock()
			w.store.tell()
		}
		behind(budget + 2*64<<10)
		time.Sleep(time.Second)
		before := tor.Stats().Downloaded
		done := make(chan error, 1)
		go func() {
			_, err := r.ReadAt(context.Background(), make([]byte, 64<<10), 4<<20)
			done <- err
		}()
		time.Sleep(time.Minute)
		if more := tor.Stats().Downloaded - before; more > 0 {
			t.Errorf("%d bytes fetched while the disk was behind", more)
		}
		behind(budget)
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("still waits although the disk has caught up")
		}
	})
}

// A disk that fails each nth read is outlived, be it in exact step with what
// is tried again, by a reader and by a peer to whom nobody else has the data.
func TestDiskThatFailsInStepIsOutlived(t *testing.T) {
	for nth := 2; nth <= 9; nth++ {
		t.Run(fmt.Sprint("one in ", nth), func(t *testing.T) {
			inWorld(t, 1<<20, 32<<10, Config{}, func(w *world) {
				w.store = fullStore(w.info, w.data)
				w.store.nth = nth
				tor := w.add(TorrentConfig{})
				r := tor.NewReader(nil)
				defer r.Close()
				w.read(r, 0, int(w.info.Size()), time.Minute)
				l := w.connect(simnet.Link{Delay: ms, Up: 100 * mbit}, w.leecher("leecher"))
				select {
				case <-l.Complete():
				case <-time.After(5 * time.Minute):
					t.Errorf("the leecher has %d bytes of %d", l.Record().Downloaded, w.info.Size())
				}
			})
		})
	}
}

// A piece that each check finds right, and that cannot be read when it is asked
// for, is asked of the disk ever less often, whoever asks how often; and it is
// served once it can be read.
func TestRereadsAreBounded(t *testing.T) {
	inWorld(t, 64<<10, 32<<10, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		w.store.lame = true
		tor := w.add(TorrentConfig{})
		l := w.connect(simnet.Link{Delay: ms, Up: 100 * mbit}, w.leecher("leecher"))
		r := tor.NewReader(nil)
		defer r.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			buf := make([]byte, 100)
			_, err := r.ReadAt(ctx, buf, 0)
			for err != nil && ctx.Err() == nil { // as a player that does not give up
				_, err = r.ReadAt(ctx, buf, 0)
			}
			done <- err
		}()
		reads := func() int {
			w.store.mu.Lock()
			defer w.store.mu.Unlock()
			return w.store.reads
		}
		time.Sleep(time.Minute) // the pauses have grown
		before, asked := reads(), len(l.Record().Rejects)
		time.Sleep(10 * time.Minute)
		if n := reads() - before; n == 0 || n > 10*2*2*10 { // two pieces, twice a minute each and more, some ten blocks each time
			t.Errorf("the disk was read %d times in ten minutes", n)
		}
		t.Logf("%d reads, %d rejects in ten minutes", reads()-before, len(l.Record().Rejects)-asked)
		w.store.mu.Lock()
		w.store.lame = false
		w.store.mu.Unlock()
		if err := <-done; err != nil {
			t.Error(err)
		}
		select {
		case <-l.Complete():
		case <-time.After(2 * time.Minute):
			t.Errorf("the leecher has %d bytes of %d", l.Record().Downloaded, w.info.Size())
		}
	})
}
