package utp

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPacketGolden(t *testing.T) {
	p := packet{
		kind: typeState, id: 0x0102, timestamp: 0x03040506, delay: 0x0708090a, window: 0x0b0c0d0e,
		seq: 0x0f10, ack: 0x1112, sack: []byte{1, 0, 0, 0x80},
	}
	const want = "2101" + "0102" + "03040506" + "0708090a" + "0b0c0d0e" + "0f10" + "1112" + "0004" + "01000080"
	b := appendPacket(nil, &p)
	if hex.EncodeToString(b) != want {
		t.Errorf("packet %x, want %s", b, want)
	}
	got, err := parsePacket(b)
	if err != nil || got.id != p.id || got.seq != p.seq || got.ack != p.ack || got.window != p.window ||
		got.timestamp != p.timestamp || got.delay != p.delay || !bytes.Equal(got.sack, p.sack) {
		t.Errorf("parsed %+v, %v", got, err)
	}
}

func TestParseMalformed(t *testing.T) {
	header := appendHeader(nil, &packet{kind: typeData})
	with := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(header)) }
	for name, b := range map[string][]byte{
		"empty":               nil,
		"19 bytes":            header[:19],
		"version 0":           with(func(b []byte) []byte { b[0] = 0x00; return b }),
		"version 2":           with(func(b []byte) []byte { b[0] = 0x02; return b }),
		"type 5":              with(func(b []byte) []byte { b[0] = 0x51; return b }),
		"missing extension":   with(func(b []byte) []byte { b[1] = 1; return b }),
		"half an extension":   with(func(b []byte) []byte { b[1] = 1; return append(b, 0) }),
		"extension too short": with(func(b []byte) []byte { b[1] = 1; return append(b, 0, 4, 1, 2, 3) }),
		"two masks":           with(func(b []byte) []byte { b[1] = 1; return append(b, 1, 1, 0, 0, 1, 0) }),
		"a DHT query":         []byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"),
	} {
		if p, err := parsePacket(b); err == nil {
			t.Errorf("%s: parsed %+v", name, p)
		}
	}
}

// Padding of any size is skipped by the parser.
func TestPadding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 1400).Draw(t, "bytes")
		payload := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "payload")
		b := appendHeader([]byte("before"), &packet{kind: typeData})
		b = append(appendPadding(b, len("before"), n), payload...)
		if len(b) != len("before")+headerLen+n+len(payload) {
			t.Fatalf("%d bytes of padding make %d", n, len(b))
		}
		p, err := parsePacket(b[len("before"):])
		if err != nil || !bytes.Equal(p.payload, payload) {
			t.Fatalf("parsed %+v, %v", p, err)
		}
	})
}

// samples are the streams of the kind utp_stream, by name.
func samples(tb testing.TB) map[string][]byte {
	tb.Helper()
	root := os.Getenv("TORRENTFS_TESTDATA")
	if root == "" {
		root = "../../../shared/testdata"
	}
	files, _ := filepath.Glob(filepath.Join(root, "torrents/wire/utp_stream/*.bin"))
	if len(files) == 0 {
		tb.Skipf("no samples in %s: set TORRENTFS_TESTDATA", root)
	}
	all := make(map[string][]byte)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".bin")] = data
	}
	return all
}

func FuzzPacket(f *testing.F) {
	for _, data := range samples(f) {
		for len(data) > 0 {
			n := min(int(data[0]), len(data)-1)
			f.Add(data[1 : 1+n])
			data = data[1+n:]
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePacket(b)
		if err != nil {
			return
		}
		again, err := parsePacket(appendPacket(nil, &p))
		if err != nil {
			t.Fatal(err)
		}
		if again.kind != p.kind || again.id != p.id || again.seq != p.seq || again.ack != p.ack ||
			!bytes.Equal(again.sack, p.sack) || !bytes.Equal(again.payload, p.payload) {
			t.Fatalf("written and read again: %+v, was %+v", again, p)
		}
	})
}
