package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// seedSamples hands the samples of a kind to add, if the test data is at hand.
func seedSamples(f *testing.F, kind string, add func(data []byte)) {
	f.Helper()
	if _, ok := dataDir(); !ok {
		return
	}
	for _, s := range samples(f, kind) {
		add(s.data)
	}
}

// pastCrashers returns inputs that broke another client's decoder.
func pastCrashers(f *testing.F) [][]byte {
	f.Helper()
	dir, _ := dataDir()
	files, _ := filepath.Glob(filepath.Join(dir, "torrents", "gofuzz", "peer_protocol-FuzzDecoder", "*"))
	var all [][]byte
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			quoted, ok := strings.CutPrefix(strings.TrimSpace(line), "[]byte(")
			if !ok {
				continue
			}
			data, err := strconv.Unquote(strings.TrimSuffix(quoted, ")"))
			if err != nil {
				f.Fatal(err)
			}
			all = append(all, []byte(data))
		}
	}
	return all
}

// FuzzReader: what decodes encodes to the very bytes that were read, and the
// way the stream is cut does not matter.
func FuzzReader(f *testing.F) {
	seedSamples(f, "peer_conn", func(data []byte) {
		in, lim := recipe(f, data)
		f.Add(in, lim.Pieces, uint8(lim.Features), uint16(1448))
	})
	for _, in := range pastCrashers(f) {
		f.Add(in, 0, uint8(allFeatures), uint16(1))
	}
	f.Add(mixed(1), 10, uint8(allFeatures), uint16(0))
	f.Fuzz(func(t *testing.T, in []byte, pieces int, features uint8, step uint16) {
		lim := Limits{Pieces: pieces % MaxPieces, Features: Features(features)}
		back, err := reencode(NewReader(&vectoredStream{stream{data: in, step: int(step)}}, lim))
		if !bytes.HasPrefix(in, back) {
			t.Fatalf("read %x, encoded %x", in, back)
		}
		plain, err2 := reencode(NewReader(bytes.NewReader(in), lim))
		if !bytes.Equal(back, plain) || err.Error() != err2.Error() {
			t.Fatalf("vectored: %d bytes, %v; plain: %d bytes, %v", len(back), err, len(plain), err2)
		}
		if err == io.EOF && len(back) != len(in) {
			t.Fatalf("clean end after %d of %d bytes", len(back), len(in))
		}
		if err != io.EOF && !errors.Is(err, ErrProtocol) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("ended with %v", err)
		}
	})
}

// reencode reads to the end, and returns what was read, encoded again.
func reencode(r *Reader) (back []byte, err error) {
	var m Message
	for {
		if err := r.Next(&m); err != nil {
			return back, err
		}
		msg := m.Append(nil)
		if m.ID == Piece {
			p := make([]byte, m.Length)
			if err := r.ReadBlock(p); err != nil {
				return back, err
			}
			msg = append(msg, p...)
		}
		back = append(back, msg...)
	}
}

func FuzzHandshake(f *testing.F) {
	good := NewHandshake([20]byte{1}, [20]byte{2}, allFeatures).Append(nil)
	f.Add(good)
	f.Add(good[:40])
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := ReadHandshake(bytes.NewReader(in))
		if p, err2 := ParseHandshake(in); p != h || (err == nil) != (err2 == nil) {
			t.Fatalf("read %+v, %v; parsed %+v, %v", h, err, p, err2)
		}
		if err == nil && !bytes.HasPrefix(in, h.Append(nil)) {
			t.Fatalf("%x encodes to %x", in, h.Append(nil))
		}
	})
}

func FuzzExtHandshake(f *testing.F) {
	f.Add([]byte("d1:md11:LT_metadatai1e6:\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e"))
	f.Add([]byte("d1:md6:ut_pexi1ee6:yourip4:abcd4:ipv616:0123456789abcdefe"))
	seedSamples(f, "peer_conn", func(data []byte) {
		in, lim := recipe(f, data)
		r := NewReader(bytes.NewReader(in), lim)
		for m := new(Message); r.Next(m) == nil; {
			if m.ID == Extended {
				f.Add(bytes.Clone(m.Payload))
			}
		}
	})
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := ParseExtHandshake(in)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatal(err)
			}
			return
		}
		again, err := ParseExtHandshake(h.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(h, again, compareAddrs); d != "" {
			t.Fatal(d)
		}
		new(ExtIDs).Update(&h)
	})
}

func FuzzMetadata(f *testing.F) {
	seedSamples(f, "ut_metadata", func(data []byte) { f.Add(data) })
	f.Add([]byte("d8:msg_typei1e5:piecei0e10:total_sizei2eexx"))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := ParseMetadata(in)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatal(err)
			}
			return
		}
		if m.Type == MetadataUnknown {
			return
		}
		again, err := ParseMetadata(m.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, again); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzPEX(f *testing.F) {
	seedSamples(f, "ut_pex", func(data []byte) { f.Add(data) })
	f.Add([]byte("d5:added6:\x01\x02\x03\x04\x00\x057:added.f1:\x02e"))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := ParsePEX(in)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatal(err)
			}
			return
		}
		again, err := ParsePEX(p.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		// Order within a family is kept; mapped addresses may change family.
		if len(again.Added) != len(p.Added) || len(again.Dropped) != len(p.Dropped) {
			t.Fatalf("%+v became %+v", p, again)
		}
	})
}

// FuzzHashes: a Hashes message that is accepted has exactly the hashes that its
// range calls for.
func FuzzHashes(f *testing.F) {
	span := HashRange{Index: 6, Length: 2, Proof: 3}
	f.Add(AppendHashes(nil, span, make([][32]byte, 5))[5:], uint8(Hashes))
	f.Add(AppendHashRequest(nil, span)[5:], uint8(HashRequest))
	f.Add(AppendHashReject(nil, span)[5:], uint8(HashReject))
	f.Fuzz(func(t *testing.T, body []byte, id uint8) {
		in := append(appendPrefix(nil, ID(id), len(body)), body...)
		r := NewReader(bytes.NewReader(in), Limits{Features: FeatureV2})
		var m Message
		if err := r.Next(&m); err != nil {
			return
		}
		switch m.ID {
		case Hashes:
			if !m.Hash.Valid() || len(m.Payload) != 32*m.Hash.NumHashes() || m.Hash.Length > MaxHashLength+maxProofLayers {
				t.Fatalf("%+v with %d bytes", m.Hash, len(m.Payload))
			}
		case HashRequest, HashReject:
			if m.Hash.Index+m.Hash.Length < m.Hash.Index {
				t.Fatalf("%+v overflows", m.Hash)
			}
		}
		if m.ID != Piece {
			mustEqual(t, "encoded", m.Append(nil), in)
		}
	})
}
