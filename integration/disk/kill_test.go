//go:build linux

package disk

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"torrentfs/integration/harness"
	"torrentfs/internal/fakepeer"
	"torrentfs/metainfo"
)

// killsVariable is how often TestKilledAtRandomMoments kills; `make soak` sets
// it to 200.
const killsVariable = "TORRENTFS_KILLS"

// durableAfter is how old a verified piece must be when the program is killed
// for it never to be fetched again.
const durableAfter = 2 * time.Second

// The program is killed at random moments of a download that a reader shares,
// from its first instant on. Whatever it left: after each restart no byte that
// is read is wrong, what it says it has is right on disk, and no piece that
// was verified two seconds before a kill is asked of anybody again.
//
// A second peer, that has nothing, hears of each verified piece by a have
// message; what the first was asked for is in its record.
func TestKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	kills := 12
	if s := os.Getenv(killsVariable); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s: %v", killsVariable, err)
		}
	}
	c := harness.MakeFile(t, 16<<20+4321, 77).Create(t)
	v := newVictim(t, c)
	for v.kills < kills && !t.Failed() {
		v.live(time.Duration(rand.Int64N(int64(4 * time.Second))))
	}
	if !t.Failed() {
		v.finish()
	}
	t.Logf("%d kills: %d while mounted, %d with a reader's bytes, %d pieces found again, %d of them old enough to be sure; %d downloads completed",
		v.kills, v.whileMounted, v.whileRead, v.found, v.sure, v.completed)
}

// victim is a program that is killed again and again, and what is known of it.
type victim struct {
	t       *testing.T
	c       harness.Content
	info    *metainfo.Info
	want    []byte
	data    string // its data directory; a new one after each complete download
	dir     string // mount point
	read    string // where a reader puts what it got
	seedAt  string
	watchAt string

	verified map[int]time.Time // in this life or for sure: when the watcher first heard of it
	durable  map[int]bool      // may not be fetched again

	kills, whileMounted, whileRead, found, sure, completed int
}

func newVictim(t *testing.T, c harness.Content) *victim {
	t.Helper()
	want, err := os.ReadFile(c.Root())
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{
		t: t, c: c, info: c.Info(t), want: want, dir: harness.Mountpoint(t), read: filepath.Join(harness.Scratch(t), "read"),
		seedAt: harness.HostPort(harness.FreePort(t)), watchAt: harness.HostPort(harness.FreePort(t)),
	}
	v.begin()
	return v
}

// begin forgets all that was downloaded.
func (v *victim) begin() {
	v.data = harness.Scratch(v.t)
	v.verified, v.durable = map[int]time.Time{}, map[int]bool{}
}

func (v *victim) peer(at string, opt fakepeer.Options) *fakepeer.Peer {
	v.t.Helper()
	var l net.Listener
	harness.Eventually(v.t, at+" is free again", func() (ok bool) { // a process that starts now may have a copy of the last one's socket for a moment
		var err error
		l, err = net.Listen("tcp", at)
		return err == nil
	})
	opt.InfoHash, opt.Size, opt.PieceLength = v.info.Hash.Wire(), v.info.Size(), v.info.PieceLength()
	opt.Content = bytes.NewReader(v.want)
	p := fakepeer.New(opt)
	p.Serve(l)
	v.t.Cleanup(p.Close)
	return p
}

// live starts the program, kills it after so long, and examines both.
func (v *victim) live(life time.Duration) {
	t := v.t
	t.Helper()
	seed := v.peer(v.seedAt, fakepeer.Options{Name: "seed", UploadRate: 2 << 20})
	watcher := v.peer(v.watchAt, fakepeer.Options{Name: "watcher", Have: func(int) bool { return false }})
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		v.watch(ctx, watcher)
	}()

	p := v.start()
	death := time.Now().Add(life)
	var reader *harness.Process
	from := rand.IntN(len(v.want) - 1)
	for time.Now().Before(death) {
		if reader == nil && harness.Mounted(t, v.dir) {
			reader = harness.Tool("sh", "-c", `tail -c "+$1" "$2" >"$3"`, "sh",
				strconv.Itoa(from+1), filepath.Join(v.dir, v.c.Name), v.read).Start(t)
		}
		time.Sleep(10 * time.Millisecond)
	}
	died := time.Now()
	p.Signal(syscall.SIGKILL)
	if code := p.Wait(); code != -1 {
		t.Errorf("ended with code %d before it was killed", code)
	}
	v.kills++
	if harness.Mounted(t, v.dir) {
		v.whileMounted++
		if err := harness.Detach(v.dir); err != nil {
			t.Fatal(err)
		}
	}
	if reader != nil {
		reader.Wait() // fails at the end of the mount, or had read it all
		v.compare(from)
	}
	cancel()
	<-watched
	seed.Close()
	watcher.Close()
	v.examine(seed, watcher, died)
}

func (v *victim) start() *harness.Process {
	return harness.Torrentfs(v.t, "mount", v.c.Torrent, v.dir, "--data-dir", v.data, "--no-trackers",
		"--peer", v.seedAt, "--peer", v.watchAt, "--log-format", "json").Start(v.t)
}

// watch notes when the watcher first hears of each piece.
func (v *victim) watch(ctx context.Context, watcher *fakepeer.Peer) {
	n, bits := 0, false
	for {
		var heard []int
		err := watcher.Wait(ctx, func(r *fakepeer.Record) bool {
			heard = nil
			for _, p := range r.Haves[n:] {
				heard = append(heard, int(p))
			}
			if !bits {
				heard = append(heard, v.claimed(r)...)
			}
			return len(heard) > 0
		})
		if err != nil {
			return
		}
		now := time.Now()
		n, bits = len(watcher.Record().Haves), true
		for _, p := range heard {
			if v.verified[p].IsZero() {
				v.verified[p] = now
			}
		}
	}
}

// claimed are the pieces that the program said it had when it connected.
func (v *victim) claimed(r *fakepeer.Record) (pieces []int) {
	for p := range v.info.NumPieces() {
		if r.HaveAll || len(r.Bitfield) > p/64 && r.Bitfield[p/64]&(1<<(p%64)) != 0 {
			pieces = append(pieces, p)
		}
	}
	return pieces
}

// compare checks what a reader got before the end.
func (v *victim) compare(from int) {
	v.t.Helper()
	got, err := os.ReadFile(v.read)
	if err != nil {
		v.t.Error(err)
	}
	if len(got) > 0 {
		v.whileRead++
	}
	if !bytes.HasPrefix(v.want[from:], got) {
		v.t.Errorf("kill %d: a reader got wrong bytes among the %d after %d", v.kills, len(got), from)
	}
}

// examine compares what the program claimed and fetched with what it had.
func (v *victim) examine(seed, watcher *fakepeer.Peer, died time.Time) {
	t := v.t
	t.Helper()
	again := map[int]bool{}
	for _, e := range seed.Record().Requests {
		if v.durable[int(e.Piece)] {
			again[int(e.Piece)] = true
		}
	}
	if len(again) > 0 {
		t.Errorf("kill %d: fetched again although verified long before an earlier kill: %v", v.kills, again)
	}
	rec := watcher.Record()
	claimed := v.claimed(&rec)
	v.found += len(claimed)
	v.sure += len(v.durable)
	if disk, err := os.ReadFile(filepath.Join(v.data, v.c.Name)); err == nil || len(claimed) > 0 {
		for _, p := range claimed {
			off := int64(p) * v.info.PieceLength()
			end := off + v.info.PieceSize(p)
			if int64(len(disk)) < end || !bytes.Equal(disk[off:end], v.want[off:end]) {
				t.Errorf("kill %d: piece %d was claimed and is wrong on disk (%v)", v.kills, p, err)
			}
		}
	}
	all := len(v.verified) == v.info.NumPieces()
	for p, when := range v.verified {
		if died.Sub(when) > durableAfter {
			v.durable[p] = true
		} else {
			delete(v.verified, p) // it may be lost, and be verified anew
		}
	}
	if all {
		v.finish()
		v.begin()
	}
}

// finish lets the download end in peace, and compares all of it.
func (v *victim) finish() {
	t := v.t
	t.Helper()
	seed := v.peer(v.seedAt, fakepeer.Options{Name: "seed"})
	defer seed.Close()
	m := harness.StartMount(t, harness.Torrentfs(t), v.c.Torrent, v.data, v.dir, "--no-trackers", "--peer", v.seedAt)
	harness.SameFile(t, v.c.Root(), m.Path(v.c.Name))
	m.Complete()
	m.Stop()
	harness.SameFile(t, v.c.Root(), filepath.Join(v.data, v.c.Name))
	for _, e := range seed.Record().Requests {
		if v.durable[int(e.Piece)] {
			t.Errorf("after the last kill: piece %d is fetched again", e.Piece)
		}
	}
	v.completed++
}

// Killed while nothing but hashing goes on, it finds all of it again.
func TestKilledWhileChecking(t *testing.T) {
	t.Parallel()
	c := harness.MakeFile(t, 32<<20, 78).Create(t)
	data := harness.Scratch(t)
	harness.Tool("cp", c.Root(), data).Run(t) // of another client: nobody vouches for it
	for _, life := range []time.Duration{50, 300, 600, 900} {
		p := harness.Torrentfs(t, slices.Concat([]string{"seed", c.Torrent, "--data-dir", data, "--no-trackers"}, harness.LogFlags)...).Start(t)
		time.Sleep(life * time.Millisecond)
		p.Signal(syscall.SIGKILL)
		p.Wait()
	}
	m := harness.MountAt(t, c.Torrent, data, harness.Mountpoint(t), "--no-trackers")
	m.Complete()
	harness.SameFile(t, c.Root(), m.Path(c.Name))
	if last := m.Stop(); last.Number("downloaded") != 0 {
		t.Errorf("downloaded %d bytes", last.Number("downloaded"))
	}
}
