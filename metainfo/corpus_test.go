package metainfo

import (
	"encoding/csv"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// testdataDir is the folder of the shared torrents; it may not be there.
func testdataDir() string {
	dir := os.Getenv("TORRENTFS_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "testdata")
	}
	return filepath.Join(dir, "torrents")
}

// testdata returns the folder of the shared torrents, or skips the test.
func testdata(tb testing.TB) string {
	tb.Helper()
	dir := testdataDir()
	if _, err := os.Stat(filepath.Join(dir, "INDEX.tsv")); err != nil {
		tb.Skipf("test data not found (set TORRENTFS_TESTDATA): %v", err)
	}
	return dir
}

// corpus returns the rows of INDEX.tsv of one kind, by column name.
func corpus(tb testing.TB, kind string) (dir string, rows []map[string]string) {
	tb.Helper()
	dir = testdata(tb)
	f, err := os.Open(filepath.Join(dir, "INDEX.tsv"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	all, err := r.ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	for _, rec := range all[1:] {
		row := map[string]string{}
		for i, v := range rec {
			row[all[0][i]] = v
		}
		if row["kind"] == kind {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		tb.Fatalf("INDEX.tsv has no rows of kind %q", kind)
	}
	return dir, rows
}

// disputed holds this package's decision on the torrents that clients treat
// differently (see doc.go): nil to load it, else what it is refused for.
var disputed = map[string]error{
	"libtorrent--duplicate_files2.torrent":  nil,
	"libtorrent--zero.torrent":              ErrEmpty,
	"libtorrent--zero2.torrent":             ErrEmpty,
	"torrenttools--collection.torrent":      ErrEmpty,
	"torrenttools--http-seeds.torrent":      ErrEmpty,
	"torrenttools--private.torrent":         ErrEmpty,
	"torrenttools--similar-v2.torrent":      ErrEmpty,
	"torrenttools--tree_index_test.torrent": ErrEmpty,
	"torrenttools--web-seed.torrent":        ErrEmpty,
}

func TestCorpus(t *testing.T) {
	dir, rows := corpus(t, "torrent")
	for _, row := range rows {
		t.Run(strings.TrimSuffix(row["file"], ".torrent"), func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, row["file"]))
			if err != nil {
				t.Fatal(err)
			}
			m, err := Parse(data, Limits{})
			if err != nil && strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Errorf("error is not one clean line: %q", err)
			}
			switch row["expected"] {
			case "invalid":
				if err == nil {
					t.Fatalf("loaded; want it refused: %s", row["why"])
				}
				t.Logf("%v", err)
			case "disputed":
				want, ok := disputed[row["file"]]
				if !ok {
					t.Fatalf("no decision on this disputed torrent (%v)", err)
				}
				if !errors.Is(err, want) {
					t.Fatalf("got %v, want %v", err, want)
				}
				if err == nil {
					checkLoaded(t, m.Info, row)
				}
			case "valid", "valid-sanitize":
				if err != nil {
					t.Fatal(err)
				}
				checkLoaded(t, m.Info, row)
			default:
				t.Fatalf("unknown expectation %q", row["expected"])
			}
		})
	}
}

// checkLoaded compares a torrent with its row.
func checkLoaded(t *testing.T, info *Info, row map[string]string) {
	t.Helper()
	checkTree(t, info)
	number := func(col string) int64 {
		n, err := strconv.ParseInt(row[col], 10, 64)
		if err != nil {
			t.Fatalf("column %s: %v", col, err)
		}
		return n
	}
	hex := func(has bool, s string) string {
		if has {
			return s
		}
		return ""
	}
	if got := hex(info.Hash.HasV1, info.Hash.V1.String()); got != row["v1_infohash"] {
		t.Errorf("v1 info-hash %s, want %s", got, row["v1_infohash"])
	}
	if got := hex(info.Hash.HasV2, info.Hash.V2.String()); got != row["v2_infohash"] {
		t.Errorf("v2 info-hash %s, want %s", got, row["v2_infohash"])
	}
	if got := info.TotalLength(); got != number("data_size") {
		t.Errorf("total length %d, want %d", got, number("data_size"))
	}
	if got := info.PieceLength(); got != number("piece_length") {
		t.Errorf("piece length %d, want %d", got, number("piece_length"))
	}
	if got := int64(len(info.Files)); got != number("files_listed") {
		t.Errorf("%d files, want %d", got, number("files_listed"))
	}
	if row["pieces_v1"] != "" && int64(info.NumPieces()) != number("pieces_v1") {
		t.Errorf("%d pieces, want %d", info.NumPieces(), number("pieces_v1"))
	}
	var pads, links int64
	for i := range info.Files {
		if info.Files[i].Pad {
			pads++
		}
		if info.Files[i].Link() {
			links++
		}
	}
	if pads != number("pad_files") || links != number("symlinks") {
		t.Errorf("%d pads and %d links, want %s and %s", pads, links, row["pad_files"], row["symlinks"])
	}
	name, err := url.PathUnescape(row["name"])
	if err != nil {
		t.Fatal(err)
	}
	if row["expected"] == "valid" && info.Name != name {
		t.Errorf("name %q, want %q", info.Name, name)
	}
	if row["expected"] == "valid" && row["tags"] == "" {
		checkPaths(t, info, row["files"])
	}
}

// checkPaths compares the files of a torrent whose names need no repair.
func checkPaths(t *testing.T, info *Info, want string) {
	t.Helper()
	for i, w := range strings.Split(want, "|") {
		if strings.HasPrefix(w, "...") {
			return
		}
		w, _, _ = strings.Cut(w, "->")
		raw, rest, _ := strings.Cut(w, ":")
		size, attr, _ := strings.Cut(rest, ":")
		f := &info.Files[i]
		if f.Pad {
			continue
		}
		elems := strings.Split(raw, "/")
		for k := range elems {
			e, err := url.PathUnescape(elems[k])
			if err != nil {
				t.Fatal(err)
			}
			elems[k] = e
		}
		path := strings.Join(elems, "/")
		if !info.Single {
			path = info.Name + "/" + path
		}
		if f.Path != path || !strings.Contains(attr, "l") && strconv.FormatInt(f.Length, 10) != size {
			t.Errorf("file %d is %q of %d bytes, want %q of %s", i, f.Path, f.Length, path, size)
		}
	}
}

// checkTree checks what every loaded torrent must hold: paths form a tree of safe names without
// clashes, links stay inside, and the geometry adds up.
func checkTree(t testing.TB, info *Info) {
	t.Helper()
	paths, dirs := map[string]bool{}, map[string]bool{}
	for i := range info.Files {
		f := &info.Files[i]
		if f.Pad {
			if f.Path != "" || !f.Omit {
				t.Errorf("pad %d is shown as %q", i, f.Path)
			}
			continue
		}
		elems := strings.Split(f.Path, "/")
		for _, e := range elems {
			checkName(t, e)
		}
		if elems[0] != info.Name && !info.Single {
			t.Errorf("%q lies outside %q", f.Path, info.Name)
		}
		if paths[f.Path] {
			t.Errorf("two files are %q", f.Path)
		}
		paths[f.Path] = true
		for k := 1; k < len(elems); k++ {
			dirs[strings.Join(elems[:k], "/")] = true
		}
	}
	for p := range paths {
		if dirs[p] {
			t.Errorf("%q is a file and a directory", p)
		}
	}
	for i := range info.Files {
		if f := &info.Files[i]; f.Link() && !f.Omit {
			checkLink(t, info, f)
		}
	}
	checkGeometry(t, info)
}

func checkName(t testing.TB, name string) {
	t.Helper()
	if name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "/\x00\n\x1b\x7f") || !utf8.ValidString(name) {
		t.Errorf("unsafe name %q", name)
	}
	if strings.ContainsAny(name, "\u202e\u2066\u200b\ufeff\u2028") {
		t.Errorf("name %q has invisible characters", name)
	}
}

// checkLink follows a link's text as a kernel would, as far as names go.
func checkLink(t testing.TB, info *Info, f *File) {
	t.Helper()
	if f.Symlink == "" || strings.HasPrefix(f.Symlink, "/") || strings.ContainsRune(f.Symlink, 0) {
		t.Errorf("link %q has target %q", f.Path, f.Symlink)
	}
	at := strings.Split(f.Path, "/")
	at = at[:len(at)-1]
	for _, e := range strings.Split(f.Symlink, "/") {
		switch {
		case e == ".":
		case e != "..":
			at = append(at, e)
		case len(at) < 2:
			t.Fatalf("link %q leaves the torrent: %q", f.Path, f.Symlink)
		default:
			at = at[:len(at)-1]
		}
	}
	if len(at) == 0 || at[0] != info.Name {
		t.Errorf("link %q leaves the torrent: %q", f.Path, f.Symlink)
	}
}

func checkGeometry(t testing.TB, info *Info) {
	t.Helper()
	n := info.NumPieces()
	if n < 1 {
		t.Fatalf("%d pieces", n)
	}
	var sum int64
	for p := range min(n, 5000) {
		size := info.PieceSize(p)
		if size < 1 || size > info.PieceLength() || info.NumBlocks(p) > info.BlocksPerPiece() {
			t.Fatalf("piece %d of %d bytes and %d blocks", p, size, info.NumBlocks(p))
		}
		last := info.NumBlocks(p) - 1
		if got := int64(last)*BlockSize + int64(info.BlockLen(p, last)); got != size {
			t.Fatalf("piece %d: blocks make %d bytes of %d", p, got, size)
		}
		sum += size
	}
	var content int64
	for i := range info.Files {
		content += info.Files[i].Length
	}
	if n <= 5000 && sum != content {
		t.Errorf("pieces make %d bytes, files %d", sum, content)
	}
	if last := info.PieceOf(info.Size() - 1); last != n-1 {
		t.Errorf("the last byte is in piece %d of %d", last, n)
	}
	if info.Hash.HasV1 {
		info.PieceSHA1(n - 1)
	}
	var spans, pos int64
	for s := range info.Spans(0, info.Size()) {
		if s.Pos < pos || s.Pos != info.Files[s.File].Offset+s.Offset {
			t.Fatalf("span %+v after %d", s, pos)
		}
		spans, pos = spans+s.Length, s.Pos+s.Length
	}
	if spans != content {
		t.Errorf("spans make %d bytes, files %d", spans, content)
	}
}
