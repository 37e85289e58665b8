package library

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"torrentfs/fs"
	"torrentfs/swarm"
)

// object is an entry as fs names it.
func object(entry int) fs.Object {
	return fs.Object{Entry: entry, Below: slices.Values([]int{entry})}
}

func xattr(t *testing.T, tor *Torrent, o fs.Object, name string) string {
	t.Helper()
	value, ok := tor.tree.GetXattr(o, xattrPrefix+name)
	if !ok {
		t.Errorf("no attribute %s", name)
	}
	return string(value)
}

func readFile(t *testing.T, tor *Torrent, entry int, p []byte) error {
	t.Helper()
	f, err := tor.Source().Open(entry)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = f.ReadAt(deadline(t), p, 0)
	return err
}

func TestParseOnUnavailable(t *testing.T) {
	for _, c := range []struct {
		text, want string // "" for an error
	}{
		{"block", "block"},
		{"eio", "eio"},
		{"timeout", "timeout=30s"},
		{"timeout=2m", "timeout=2m0s"},
		{"timeout=0s", ""},
		{"timeout=-1s", ""},
		{"timeout=", ""},
		{"block=3s", ""},
		{"Block", ""},
		{"", ""},
	} {
		o, err := ParseOnUnavailable(c.text)
		if (err == nil) != (c.want != "") || err == nil && o.String() != c.want {
			t.Errorf("%q: %v, %v, want %q", c.text, o, err, c.want)
		}
		if again, err2 := ParseOnUnavailable(o.String()); err == nil && (again.String() != o.String() || err2 != nil) {
			t.Errorf("%v reads back as %v, %v", o, again, err2)
		}
	}
}

// Where nobody has the data a read waits, fails after its time, or fails once that is known: as the torrent's policy
// says, and each file's own.
func TestUnavailableDataByPolicy(t *testing.T) {
	mi, _ := testTorrent(t, "")
	l := openLibrary(t, t.TempDir())
	tor := addTorrent(t, l, mi, AddOptions{OnUnavailable: OnUnavailable{Policy: Timeout, Timeout: 10 * time.Millisecond}})
	tor.reads.lackPatience, tor.reads.swarmPatience = time.Millisecond, 0 // nobody waits yet
	p := make([]byte, 10)

	err := readFile(t, tor, 0, p)
	var gaveUp *UnavailableError
	if !errors.Is(err, fs.ErrUnavailable) || !errors.As(err, &gaveUp) || gaveUp.Path != "set/a.bin" || gaveUp.Reason == "" {
		t.Fatalf("read under timeout: %v", err)
	}
	// The kernel asks again at once for what one application reads once.
	if err := readFile(t, tor, 0, p); !errors.Is(err, fs.ErrUnavailable) {
		t.Errorf("second read: %v", err)
	}
	if n, _ := tor.swarm.BlockedReads(func(any) bool { return true }); n != 0 {
		t.Errorf("%d reads wait", n)
	}

	b := object(2)
	for _, text := range []string{"eio", "block", "timeout=7s"} {
		if err := tor.tree.SetXattr(b, xattrPolicy, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := xattr(t, tor, b, "on_unavailable"); got != text {
			t.Errorf("policy of the file %q, want %q", got, text)
		}
		if got := xattr(t, tor, object(0), "on_unavailable"); got != "timeout=10ms" {
			t.Errorf("policy of another file %q", got)
		}
	}
	if err := tor.tree.SetXattr(b, xattrPolicy, []byte("never")); !errors.Is(err, fs.ErrXattrValue) {
		t.Errorf("set nonsense: %v", err)
	}
	if err := tor.tree.SetXattr(b, xattrState, []byte("complete")); err == nil || errors.Is(err, fs.ErrXattrValue) {
		t.Errorf("set the state: %v", err)
	}
	if err := tor.tree.SetXattr(b, xattrPolicy, []byte("eio")); err != nil {
		t.Fatal(err)
	}
	if err := readFile(t, tor, 2, p); !errors.Is(err, fs.ErrUnavailable) || !strings.Contains(err.Error(), "no peer") {
		t.Errorf("read under eio: %v", err)
	}
	root := fs.Object{Entry: -1, Root: true, Below: slices.Values([]int{0, 1, 2, 3, 4})}
	if err := tor.tree.SetXattr(root, xattrPolicy, []byte("block")); err != nil {
		t.Fatal(err)
	}
	if got := xattr(t, tor, b, "on_unavailable"); got != "block" {
		t.Errorf("policy of the file %q after that of the root was set", got)
	}
}

// A read that may wait can be seen, with what it waits for, and goes on as soon as somebody has its bytes; a policy that
// gives up where nobody has them leaves it alone while somebody does.
func TestBlockedReadIsSeenAndServed(t *testing.T) {
	mi, files := testTorrent(t, "")
	seedDir := t.TempDir()
	writeFiles(t, seedDir, files)
	seeder := openLibrary(t, seedDir)
	awaitComplete(t, addTorrent(t, seeder, mi, AddOptions{}))

	l := openLibrary(t, t.TempDir())
	tor := addTorrent(t, l, mi, AddOptions{NoPrefetch: true})
	f, err := tor.Source().Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, 1000)
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := f.ReadAt(ctx, got, 5)
		done <- err
	}()
	for xattr(t, tor, object(0), "waiting") == "" {
		select {
		case err := <-done:
			t.Fatalf("read of missing bytes ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if s := xattr(t, tor, object(0), "state"); s != "waiting" {
		t.Errorf("state %q", s)
	}
	if w := xattr(t, tor, object(0), "waiting"); !strings.HasPrefix(w, "1 for ") || !strings.Contains(w, "no peer is known, piece 0") && !tor.l.Offline() {
		t.Errorf("waiting: %q", w)
	}
	if w := xattr(t, tor, object(3), "waiting"); w != "" {
		t.Errorf("waiting, of another file: %q", w)
	}
	for s := tor.Stats(); s.WaitsFor == ""; s = tor.Stats() {
		time.Sleep(time.Millisecond)
	}
	tor.swarm.Found(swarm.Introducer{}, []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(seeder.Port()))})
	if err := <-done; err != nil || !bytes.Equal(got, files[0].data[5:1005]) {
		t.Errorf("read: %v", err)
	}
}

// Attributes say what is here of files and of directories.
func TestXattrsTellProgress(t *testing.T) {
	mi, files := testTorrent(t, "")
	dir := t.TempDir()
	writeFiles(t, dir, files[:1]) // a.bin ends within a piece, which lacks its neighbour
	l := openLibrary(t, dir)
	tor := addTorrent(t, l, mi, AddOptions{NoPrefetch: true})
	if err := tor.Checked(deadline(t)); err != nil {
		t.Fatal(err)
	}
	all := fs.Object{Entry: -1, Root: true, Below: slices.Values([]int{0, 1, 2, 3, 4})}
	for _, c := range []struct {
		what       string
		o          fs.Object
		name, want string
	}{
		{"file", object(0), "info_hash", mi.Info.Hash.String()},
		{"file", object(0), "size", "300001"},
		{"file", object(0), "verified", "262144"}, // four pieces of five
		{"file", object(0), "progress", "87.4"},
		{"file", object(0), "state", "partial"},
		{"file", object(0), "availability", "0.80"},
		{"file", object(0), "on_unavailable", "block"},
		{"file", object(0), "piece_length", "65536"},
		{"empty file", object(1), "state", "complete"},
		{"empty file", object(1), "progress", "100"},
		{"missing file", object(3), "verified", "0"},
		{"missing file", object(3), "progress", "0.0"},
		{"root", all, "verified", "262144"},
		{"root", all, "peers", "0"},
		{"root", all, "state", "partial"},
	} {
		if got := xattr(t, tor, c.o, c.name); got != c.want {
			t.Errorf("%s: %s = %q, want %q", c.what, c.name, got, c.want)
		}
	}
	for _, o := range []fs.Object{all, object(0)} {
		for _, name := range tor.tree.ListXattr(o) {
			if _, ok := tor.tree.GetXattr(o, name); !ok {
				t.Errorf("%s is listed and has no value", name)
			}
		}
	}
	if _, ok := tor.tree.GetXattr(object(0), xattrPeers); ok {
		t.Error("a file has peers")
	}
}
