package metainfo_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"torrentfs/metainfo"
)

// memory is content that is not on a disk.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// A torrent is made of what Open gives, and parsed again.
func ExampleCreate() {
	content := bytes.Repeat([]byte("0123456789abcdef"), 3000)
	torrent, err := metainfo.Create(context.Background(), metainfo.CreateSpec{
		Name:     "numbers.txt",
		Trackers: [][]string{{"http://tracker.example/announce"}},
		Files: []metainfo.SourceFile{{
			Length: int64(len(content)),
			Open:   func() (metainfo.Content, error) { return memory{bytes.NewReader(content)}, nil },
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	mi, err := metainfo.Parse(torrent, metainfo.Limits{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(mi.Info.Name, mi.Info.Size(), "bytes in", mi.Info.NumPieces(), "pieces of", mi.Info.PieceLength())
	fmt.Println(mi.Info.Hash)
	// Output:
	// numbers.txt 48000 bytes in 3 pieces of 16384
	// 400a1bebe9ffb97250272bc77555798810f6ab79
}

// A link has an info-hash, and may have a name, trackers and peers.
func ExampleParseMagnet() {
	m, err := metainfo.ParseMagnet("magnet:?xt=urn:btih:c9e15763f722f23e98a29decdfae341b98d53056&dn=film&tr=http://tracker.example/announce&x.pe=192.0.2.1:6881&so=0,2-3")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Hash, m.Name)
	fmt.Println(m.Trackers, m.Peers)
	fmt.Println(m.Selected(1), m.Selected(2))
	// Output:
	// c9e15763f722f23e98a29decdfae341b98d53056 film
	// [http://tracker.example/announce] [192.0.2.1:6881]
	// false true
}

// A range of a torrent lies in some files, and in some pieces.
func ExampleInfo_Spans() {
	const info = "d5:filesld6:lengthi20000e4:pathl5:first" + "eed6:lengthi30000e4:pathl6:secondeee4:name3:set12:piece lengthi16384e6:pieces80:" +
		"aaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbccccccccccccccccccccdddddddddddddddddddd" + "e"
	i, err := metainfo.ParseInfo([]byte(info), metainfo.Limits{})
	if err != nil {
		log.Fatal(err)
	}
	for s := range i.Spans(16384, 16384) {
		fmt.Println(i.Files[s.File].Path, s.Offset, s.Length)
	}
	fmt.Println("piece", i.PieceOf(16384))
	// Output:
	// set/first 16384 3616
	// set/second 0 12768
	// piece 1
}
