package library_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"torrentfs/library"
	"torrentfs/metainfo"
)

// A torrent is opened by what a user calls it, and downloaded into a folder.
func Example() {
	ctx := context.Background()
	seed := startSeed()
	defer seed.close()

	l, err := library.Open(library.Config{DataDir: tempDir()})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close(ctx)

	ref, err := library.ParseRef(seed.torrentFile) // or a magnet link, or a URL: see Ref
	if err != nil {
		log.Fatal(err)
	}
	t, err := l.Add(ctx, ref.Meta, library.AddOptions{Peers: seed.peers})
	if err != nil {
		log.Fatal(err)
	}
	<-t.Complete() // every piece is verified, and outlives a crash
	fmt.Println(t.Info().Name, t.Stats().Verified, "bytes")
	// Output: film.bin 1048576 bytes
}

// A magnet link has no file list: its metadata comes from peers first.
func ExampleLibrary_AddMagnet() {
	ctx := context.Background()
	seed := startSeed()
	defer seed.close()
	l, err := library.Open(library.Config{DataDir: tempDir()})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close(ctx)

	link, err := metainfo.ParseMagnet(seed.link)
	if err != nil {
		log.Fatal(err)
	}
	t, err := l.AddMagnet(ctx, link, library.AddOptions{Peers: seed.peers})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range t.Info().Files {
		fmt.Println(f.Path, f.Length)
	}
	// Output: film.bin 1048576
}

// A range is read from the middle of a file while nothing else is downloaded.
func ExampleTorrent_Open() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	seed := startSeed()
	defer seed.close()
	l, err := library.Open(library.Config{DataDir: tempDir()})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close(context.Background())
	t, err := l.Add(ctx, seed.meta, library.AddOptions{Peers: seed.peers, NoPrefetch: true})
	if err != nil {
		log.Fatal(err)
	}

	f, err := t.Open("film.bin")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 1000)
	n, err := f.ReadAt(ctx, buf, 700_000) // waits for its piece, no longer than ctx
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "bytes, right:", bytes.Equal(buf, seed.data[700_000:701_000]))
	// Output: 1000 bytes, right: true
}

// Progress is looked at as often as it is shown.
func ExampleTorrent_Stats() {
	ctx := context.Background()
	seed := startSeed()
	defer seed.close()
	l, err := library.Open(library.Config{DataDir: tempDir()})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close(ctx)
	t, err := l.Add(ctx, seed.meta, library.AddOptions{Peers: seed.peers})
	if err != nil {
		log.Fatal(err)
	}

	show := time.NewTicker(time.Second)
	defer show.Stop()
	for done := false; !done; {
		select {
		case <-show.C:
			s := t.Stats()
			log.Printf("%d of %d bytes, %d peers, %.0f bytes a second", s.Verified, s.Total, s.Peers, s.DownRate)
		case <-t.Complete():
			done = true
		}
	}
	s := t.Stats()
	fmt.Println(s.Verified == s.Total, s.Complete)
	// Output: true true
}

// What nobody reads is fetched by a strategy; readers come first in each.
func ExampleStrategy() {
	ctx := context.Background()
	seed := startSeed()
	defer seed.close()
	for _, strategy := range []library.Strategy{library.RarestFirst, library.AsItComes, library.InOrder} {
		l, err := library.Open(library.Config{DataDir: tempDir()})
		if err != nil {
			log.Fatal(err)
		}
		t, err := l.Add(ctx, seed.meta, library.AddOptions{Peers: seed.peers, Strategy: strategy})
		if err != nil {
			log.Fatal(err)
		}
		<-t.Complete()
		fmt.Println(strategy, t.Stats().Verified)
		if err := l.Close(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// rarest first 1048576
	// as it comes 1048576
	// in order 1048576
}

// seed is a library that has a torrent, for the others to download from.
type seed struct {
	data              []byte
	meta              *metainfo.MetaInfo
	torrentFile, link string
	peers             []netip.AddrPort
	close             func()
}

func startSeed() *seed {
	ctx := context.Background()
	dir := tempDir()
	s := &seed{data: bytes.Repeat([]byte("a film"), 1<<20/6+1)[:1<<20]}
	for i := 0; i < len(s.data); i += 1000 {
		s.data[i] = byte(i / 1000) // so that pieces differ
	}
	if err := os.WriteFile(filepath.Join(dir, "film.bin"), s.data, 0o600); err != nil {
		log.Fatal(err)
	}
	torrent, err := metainfo.Create(ctx, metainfo.CreateSpec{
		Name: "film.bin", PieceLength: 64 << 10, Files: []metainfo.SourceFile{{
			Length: int64(len(s.data)), Open: func() (metainfo.Content, error) { return os.Open(filepath.Join(dir, "film.bin")) },
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	s.torrentFile = filepath.Join(dir, "film.torrent")
	if err := os.WriteFile(s.torrentFile, torrent, 0o600); err != nil {
		log.Fatal(err)
	}
	if s.meta, err = metainfo.Parse(torrent, metainfo.Limits{}); err != nil {
		log.Fatal(err)
	}
	s.link = s.meta.Magnet().String()
	l, err := library.Open(library.Config{DataDir: dir, ListenAddr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	t, err := l.Add(ctx, s.meta, library.AddOptions{})
	if err != nil {
		log.Fatal(err)
	}
	<-t.Complete()
	s.peers = []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(l.Port()))}
	s.close = func() {
		_ = l.Close(ctx)
		for _, dir := range tempDirs {
			_ = os.RemoveAll(dir)
		}
		tempDirs = nil
	}
	return s
}

// tempDirs are the folders of one example. Its seed removes them.
var tempDirs []string

func tempDir() string {
	dir, err := os.MkdirTemp("", "torrentfs-example-")
	if err != nil {
		log.Fatal(err)
	}
	tempDirs = append(tempDirs, dir)
	return dir
}
