//go:build linux

package disk

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"torrentfs/integration/harness"
	"torrentfs/internal/fakepeer"
)

// soakVariable is how long TestSoak runs; without it it does not. `make soak`
// sets it to an hour.
const soakVariable = "TORRENTFS_SOAK"

// One mount for a long time, in a swarm that comes and goes: peers of changing
// rates and manners, some of them killed in the middle, readers that seek, and
// pieces that go bad on disk. Every byte that is read is right, and memory and
// descriptors are no more at the end than after the first quarter.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv(soakVariable))
	if err != nil {
		t.Skipf("%s is not a time such as 1h: %q", soakVariable, os.Getenv(soakVariable))
	}
	c := harness.MakeFile(t, 48<<20, 91).Create(t)
	w := &soak{t: t, c: c, m: harness.MountTorrent(t, c.Torrent, "--no-trackers", "--max-upload-rate", "20M/s", "--memory-limit", "256MiB")}
	if w.want, err = os.ReadFile(c.Root()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() { w.peers(ctx, i) })
	}
	wg.Go(func() { w.meddle(ctx) })
	w.read(ctx, length)
	wg.Wait()
	w.m.Stop()
	t.Logf("%d reads, %d peers, %d times meddled; memory %d kB after a quarter, at most %d kB later; descriptors %d, at most %d",
		w.reads, w.lives, w.meddled, w.early.kB, w.late.kB, w.early.descriptors, w.late.descriptors)
	if w.late.kB > w.early.kB*5/4+32<<10 {
		t.Errorf("memory grew from %d to %d kB", w.early.kB, w.late.kB)
	}
	if w.late.descriptors > w.early.descriptors+24 {
		t.Errorf("descriptors grew from %d to %d", w.early.descriptors, w.late.descriptors)
	}
}

type soak struct {
	t    *testing.T
	c    harness.Content
	m    *harness.Mount
	want []byte

	mu      sync.Mutex
	lives   int
	meddled int

	reads       int
	early, late footprint
}

// footprint is the most that a process took over some time.
type footprint struct {
	kB          int64 // resident
	descriptors int
}

func (u *footprint) take(pid int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			u.kB = max(u.kB, n)
		}
	}
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	u.descriptors = max(u.descriptors, len(fds))
}

// peers connects one peer after the other, of every kind. One in six is honest
// all along, so that reads end.
func (w *soak) peers(ctx context.Context, i int) {
	info := w.c.Info(w.t)
	for life := 0; ctx.Err() == nil; life++ {
		opt := fakepeer.Options{
			InfoHash: info.Hash.Wire(), Size: info.Size(), PieceLength: info.PieceLength(),
			Content: bytes.NewReader(w.want), Name: fmt.Sprintf("soak %d %d", i, life), UploadRate: int64(1+rand.IntN(8)) << 20,
		}
		span := time.Duration(1+rand.IntN(8)) * time.Second
		switch {
		case i == 0:
			opt.UploadRate = 4 << 20
		case i == 1: // a leecher
			opt.Have = func(int) bool { return false }
			for p := range info.NumPieces() {
				opt.Want = append(opt.Want, p)
			}
		default:
			opt.Behaviours = [][]fakepeer.Behaviour{
				nil, {fakepeer.ResetAfter(rand.IntN(100))}, {fakepeer.StallAfter(rand.IntN(50))}, {fakepeer.Late(time.Second)}, {fakepeer.Twice()},
			}[rand.IntN(5)]
			opt.Chokes = []time.Duration{time.Second, time.Second}
		}
		p := fakepeer.New(opt)
		if err := p.Dial(ctx, &net.Dialer{}, w.m.Peer()); err == nil {
			w.mu.Lock()
			w.lives++
			w.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(span):
		}
		p.Close()
	}
}

// meddle spoils a part of the file on disk, again and again: there is always
// something to fetch.
func (w *soak) meddle(ctx context.Context) {
	name := filepath.Join(w.m.Data, w.c.Name)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(15 * time.Second):
		}
		if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
			if _, err := f.WriteAt(make([]byte, 64<<10), rand.Int64N(int64(len(w.want)-64<<10))); err == nil {
				w.mu.Lock()
				w.meddled++
				w.mu.Unlock()
			}
			_ = f.Close()
		}
	}
}

// read reads here and there through new handles, with what the kernel keeps
// dropped now and then.
func (w *soak) read(ctx context.Context, length time.Duration) {
	begun := time.Now()
	for ctx.Err() == nil && !w.t.Failed() {
		off := rand.Int64N(int64(len(w.want) - 1<<20))
		harness.ReadRange(w.t, w.c.Root(), w.m.Path(w.c.Name), off, 1+rand.Int64N(1<<20))
		w.reads++
		u := &w.early
		if time.Since(begun) > length/4 {
			u = &w.late
		}
		u.take(w.m.Cmd.Process.Pid)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(rand.IntN(300)) * time.Millisecond):
		}
	}
}
