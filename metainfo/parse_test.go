package metainfo

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"torrentfs/metainfo/bencode"
)

type dict = map[string]any

func encode(t testing.TB, d dict) []byte {
	t.Helper()
	data, err := bencode.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// info1 is the smallest info dictionary: one file of one byte.
func info1(change dict) dict {
	d := dict{"name": "f", "piece length": 16384, "length": 1, "pieces": make([]byte, 20)}
	for k, v := range change {
		if d[k] = v; v == nil {
			delete(d, k)
		}
	}
	return d
}

func TestParseFields(t *testing.T) {
	data := encode(t, dict{
		"info": info1(dict{"private": 1, "source": "S", "name.utf-8": "ü"}), "announce": "http://old/",
		"announce-list": []any{[]any{" http://a/ ", "", "http://b/", 5}, []any{}, []any{"http://a/"}, "http://flat/"},
		"url-list":      "http://w/", "httpseeds": []any{"http://h/", "", "http://h/", 7},
		"nodes":   []any{[]any{"1.2.3.4", 5}, []any{"::1", 6}, []any{"x"}, []any{"h", 70000}, "junk"},
		"comment": "c", "comment.utf-8": "ç", "created by": "me", "creation date": 1_000_000_000, "unknown": []any{dict{}},
	})
	m, err := Parse(append(data, "trailing"...), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	info := m.Info
	m.Info = nil
	want := &MetaInfo{
		Trackers: [][]string{{"http://a/", "http://b/"}, {"http://flat/"}}, WebSeeds: []string{"http://w/"}, HTTPSeeds: []string{"http://h/"},
		Nodes: []string{"1.2.3.4:5", "[::1]:6"}, Comment: "ç", CreatedBy: "me", Created: time.Unix(1e9, 0).UTC(),
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	if !info.Private || info.Source != "S" || info.Name != "ü" || !info.Single || info.Files[0].Path != "ü" {
		t.Errorf("info %+v", info)
	}
	from, to, err := bencode.Span(data, "info")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(info.Bytes, data[from:to]) || info.Hash.V1 != SHA1(sha1.Sum(data[from:to])) {
		t.Error("the info-hash is not that of the raw bytes")
	}
	again, err := ParseInfo(info.Bytes, Limits{})
	if err != nil || again.Hash != info.Hash || again.Name != "ü" {
		t.Errorf("ParseInfo = %+v, %v", again, err)
	}
	if got := info.Hash.Wire(); got != [20]byte(info.Hash.V1) || info.Hash.String() != info.Hash.V1.String() {
		t.Error("wire hash of a v1 torrent")
	}
	for _, empty := range []any{[]any{}, []any{[]any{}}, "no list"} {
		m, err := Parse(encode(t, dict{"info": info1(nil), "announce": "http://old/", "announce-list": empty}), Limits{})
		if err != nil || len(m.Trackers) != 1 || m.Trackers[0][0] != "http://old/" {
			t.Errorf("announce-list %v: %v, %v", empty, m.Trackers, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	file := func(change dict) dict {
		f := dict{"length": 1, "path": []string{"a"}}
		for k, v := range change {
			if f[k] = v; v == nil {
				delete(f, k)
			}
		}
		return info1(dict{"length": nil, "files": []any{f}})
	}
	deep := make([]string, 101)
	for i := range deep {
		deep[i] = "d"
	}
	tests := map[string]struct {
		in   any
		lim  Limits
		want error
		text string
	}{
		"not bencode":     {"<html>", Limits{}, bencode.ErrSyntax, "byte 0"},
		"no dictionary":   {"i1e", Limits{}, bencode.ErrType, "is an integer, not a dictionary"},
		"cut":             {"d4:info", Limits{}, bencode.ErrTruncated, "info"},
		"too long":        {info1(nil), Limits{Bytes: 20}, ErrLimit, "bytes"},
		"items":           {info1(nil), Limits{items: 5}, bencode.ErrItems, "info"},
		"no info":         {"de", Limits{}, bencode.ErrMissing, "info"},
		"version 3":       {info1(dict{"meta version": 3}), Limits{}, ErrVersion, "meta version: 3"},
		"version 1":       {info1(dict{"meta version": 1}), Limits{}, ErrVersion, "meta version: 1"},
		"no pieces":       {info1(dict{"pieces": nil}), Limits{}, bencode.ErrMissing, "pieces"},
		"no length":       {info1(dict{"length": nil}), Limits{}, bencode.ErrMissing, `"length"`},
		"length":          {info1(dict{"length": -1}), Limits{}, nil, "length: -1 is negative"},
		"piece length 0":  {info1(dict{"piece length": 0}), Limits{}, nil, "piece length: 0"},
		"piece length":    {info1(dict{"piece length": 512<<20 + 1}), Limits{}, ErrLimit, "piece length"},
		"pieces":          {info1(dict{"pieces": make([]byte, 40)}), Limits{}, nil, "2 hashes for 1 pieces"},
		"number of":       {info1(dict{"piece length": 1, "length": 3, "pieces": make([]byte, 60)}), Limits{Pieces: 2}, ErrLimit, "3 pieces"},
		"huge":            {info1(dict{"length": int64(1<<63 - 1)}), Limits{}, ErrLimit, "pieces"},
		"overflow":        {info1(dict{"files": []any{dict{"length": int64(1<<63 - 1), "path": []string{"a"}}, dict{"length": 1, "path": []string{"b"}}}}), Limits{}, nil, "64 bits"},
		"file length":     {file(dict{"length": nil}), Limits{}, bencode.ErrMissing, "info: files[0]: length"},
		"negative length": {file(dict{"length": -5}), Limits{}, nil, "info: files[0]: length: -5 is negative"},
		"path":            {file(dict{"path": "a"}), Limits{}, bencode.ErrType, "info: files[0]: path"},
		"path element":    {file(dict{"path": []any{"a", 5}}), Limits{}, bencode.ErrType, "info: files[0]: path: [1]"},
		"deep path":       {file(dict{"path": deep}), Limits{}, ErrLimit, "101 elements"},
		"pad and link":    {file(dict{"attr": "pl"}), Limits{}, nil, "both a pad and a link"},
		"file":            {info1(dict{"files": []any{"a"}}), Limits{}, bencode.ErrType, "info: files[0]"},
		"many trackers":   {dict{"info": info1(nil), "announce-list": make([]string, 200_001)}, Limits{}, ErrLimit, "announce-list"},
		"only links":      {file(dict{"attr": "l"}), Limits{}, nil, "1 hashes for 0 pieces"},
		"only empty":      {info1(dict{"length": 0, "pieces": ""}), Limits{}, ErrEmpty, "no content"},
		"no tree":         {info1(dict{"meta version": 2, "pieces": nil}), Limits{}, bencode.ErrMissing, "file tree"},
	}
	for name, tt := range tests {
		data, ok := tt.in.(string)
		if d, isDict := tt.in.(dict); isDict {
			if _, whole := d["info"]; !whole {
				d = dict{"info": d}
			}
			data, ok = string(encode(t, d)), true
		}
		if !ok {
			t.Fatal(name)
		}
		_, err := Parse([]byte(data), tt.lim)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	raw := encode(t, info1(nil))
	if _, err := ParseInfo(append(raw, 'x'), Limits{}); !errors.Is(err, bencode.ErrTrailing) {
		t.Errorf("bytes behind info: %v", err)
	}
	if _, err := ParseInfo(raw, Limits{infoBytes: 10}); !errors.Is(err, ErrLimit) {
		t.Errorf("long info: %v", err)
	}
}

func TestRead(t *testing.T) {
	data := encode(t, dict{"info": info1(nil)})
	if _, err := Read(bytes.NewReader(data), Limits{}); err != nil {
		t.Error(err)
	}
	r := bytes.NewReader(append(data, make([]byte, 1000)...))
	if _, err := Read(r, Limits{Bytes: int64(len(data))}); !errors.Is(err, ErrLimit) || r.Len() != 999 {
		t.Errorf("%v, and %d bytes left of 999", err, r.Len())
	}
}

// v2 torrents with something wrong in the tree or between the halves.
func TestParseRefusesV2(t *testing.T) {
	var open atomic.Int32
	make2 := func(v Version, change func(top, info, tree dict)) []byte {
		data, err := Create(context.Background(), CreateSpec{
			Name: "t", Version: v, PieceLength: 16384, Files: []SourceFile{source("a", 20_000, &open), source("b", 5, &open)},
		})
		if err != nil {
			t.Fatal(err)
		}
		top, _, err := bencode.DecodeDict(data, bencode.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		info := top["info"].(dict)
		change(top, info, info["file tree"].(dict))
		return encode(t, top)
	}
	leaf := func(tree dict, name string) dict { return tree[name].(dict)[""].(dict) }
	forge := func(layers dict, n int) {
		for root := range layers {
			layers[root] = make([]byte, n)
		}
	}
	tests := map[string]struct {
		v      Version
		change func(top, info, tree dict)
		want   error
		text   string
	}{
		"foreign layer": {V2, func(top, _, _ dict) { top["piece layers"].(dict)[strings.Repeat("r", 32)] = make([]byte, 64) }, ErrLayers, "no file has it"},
		"wrong layer":   {Hybrid, func(top, _, _ dict) { forge(top["piece layers"].(dict), 64) }, ErrLayers, "do not combine"},
		"short layer":   {Hybrid, func(top, _, _ dict) { forge(top["piece layers"].(dict), 63) }, ErrLayers, "63 bytes for 2 pieces"},
		"layer":         {V2, func(top, _, _ dict) { top["piece layers"] = 5 }, bencode.ErrType, "piece layers"},
		"layer key":     {V2, func(top, _, _ dict) { top["piece layers"].(dict)["short"] = "" }, ErrLayers, "key of 5 bytes"},
		"no root":       {V2, func(_, _, tree dict) { delete(leaf(tree, "b"), "pieces root") }, bencode.ErrMissing, `"b": pieces root`},
		"short root":    {V2, func(_, _, tree dict) { leaf(tree, "b")["pieces root"] = "x" }, nil, "1 bytes, not 32"},
		"no length":     {V2, func(_, _, tree dict) { delete(leaf(tree, "b"), "length") }, bencode.ErrMissing, `"b": length`},
		"file and dir":  {V2, func(_, _, tree dict) { tree["b"].(dict)["x"] = dict{} }, nil, "a file with entries below it"},
		"file at root":  {V2, func(_, _, tree dict) { tree[""] = dict{"length": 1} }, nil, "a file where a directory is"},
		"leaf":          {V2, func(_, _, tree dict) { tree["b"] = 5 }, bencode.ErrType, `file tree: "b"`},
		"missing in v1": {Hybrid, func(_, _, tree dict) { tree["c"] = dict{"": dict{"length": 0}} }, ErrInconsistent, "v2 tree only"},
		"missing in v2": {Hybrid, func(_, _, tree dict) { delete(tree, "b") }, ErrInconsistent, "v1 list only"},
		"length":        {Hybrid, func(_, _, tree dict) { leaf(tree, "b")["length"] = 6 }, ErrInconsistent, "of 5 bytes"},
		"name":          {Hybrid, func(_, _, tree dict) { tree["c"] = tree["b"]; delete(tree, "b") }, ErrInconsistent, "t/c"},
	}
	for name, tt := range tests {
		_, err := Parse(make2(tt.v, tt.change), Limits{})
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The info dictionary of a v2 torrent needs no layers: peers have them.
	data := make2(V2, func(dict, dict, dict) {})
	m, err := Parse(data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := ParseInfo(m.Info.Bytes, Limits{})
	if err != nil || info.Hash.HasV1 || info.Hash.Wire() != [20]byte(info.Hash.V2[:20]) || info.Hash.String() != info.Hash.V2.String() {
		t.Errorf("ParseInfo of v2: %v", err)
	}
}

func TestBitCometPads(t *testing.T) {
	name := "_____padding_file_0_if you see this file, please update"
	m, err := Parse(encode(t, dict{"info": info1(dict{"piece length": 16384, "pieces": make([]byte, 40), "files": []any{
		dict{"length": 1, "path": []string{"a"}}, dict{"length": 16383, "path": []string{name}}, dict{"length": 1, "path": []string{"b"}},
	}})}), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !m.Info.Files[1].Pad || m.Info.TotalLength() != 2 {
		t.Errorf("files %+v", m.Info.Files)
	}
}

// The samples of the value of "piece layers" and the other files beside the torrents must not get
// past the parser as torrents, nor break it.
func TestParseWireSamples(t *testing.T) {
	dir, rows := corpus(t, "wire")
	for _, row := range rows {
		data, err := os.ReadFile(filepath.Join(dir, row["file"]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(data, Limits{}); err == nil {
			t.Errorf("%s was parsed as a torrent", row["file"])
		}
		if !strings.HasPrefix(row["file"], "wire/piece_layers/") {
			continue
		}
		if bencode.ScanAll(data, bencode.Limits{}) != nil {
			continue
		}
		info := &Info{Geometry: Geometry{pieceLength: 16384}, Files: []File{{Length: 1 << 20, Path: "f", PiecesRoot: SHA256{1}}}}
		if layers, err := parseLayers(data, info); len(layers) > 0 || err == nil && row["file"] != "wire/piece_layers/empty_dict.bin" {
			t.Errorf("%s proves a file that it does not know", row["file"])
		}
	}
}

// FuzzParse holds that what is parsed has the promised properties, for any bytes, and that an info
// dictionary parses alone as well.
func FuzzParse(f *testing.F) {
	f.Add(encode(f, dict{"info": info1(nil)}))
	f.Add(makeTorrent(f, "t", "a", "a", "b/c", "l -> b/c", "../x"))
	var open atomic.Int32
	for _, v := range []Version{V1, V2, Hybrid} {
		data, err := Create(context.Background(), CreateSpec{
			Name: "t", Version: v, PieceLength: 16384, Files: []SourceFile{source("a", 20_000, &open), source("b/c", 5, &open)},
		})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	files, _ := filepath.Glob(filepath.Join(testdataDir(), "*.torrent"))
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && len(data) < 20_000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data, Limits{})
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("error is not one clean line: %q", err)
			}
			return
		}
		checkTree(t, m.Info)
		if _, err := ParseInfo(m.Info.Bytes, Limits{}); err != nil {
			t.Errorf("its info dictionary alone: %v", err)
		}
		if _, err := ParseMagnet(m.Magnet().String()); err != nil {
			t.Errorf("its magnet link: %v", err)
		}
	})
}

func BenchmarkParsePieces(b *testing.B) {
	const pieces = 500_000
	data := encode(b, dict{"info": info1(dict{"length": int64(pieces) * 16384, "pieces": make([]byte, 20*pieces)})})
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(data, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseFiles(b *testing.B) {
	const n = 1_000_000
	var buf bytes.Buffer
	buf.WriteString("d4:infod5:filesl")
	for i := range n {
		name := strconv.Itoa(1_000_000 + i)
		buf.WriteString("d6:lengthi100e4:pathl3:dir4:" + name[:4] + "7:" + name + "ee")
	}
	buf.WriteString("e4:name1:t12:piece lengthi1048576e6:pieces" + strconv.Itoa(20*96) + ":" + strings.Repeat("x", 20*96) + "ee")
	b.SetBytes(int64(buf.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(buf.Bytes(), Limits{Bytes: 1 << 30, items: 1 << 30, nameBytes: 1 << 30}); err != nil {
			b.Fatal(err)
		}
	}
}
