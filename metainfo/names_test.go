package metainfo

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"torrentfs/metainfo/bencode"
)

func TestSafeName(t *testing.T) {
	long := strings.Repeat("ä", 200)
	tests := []struct{ in, want string }{
		{"plain.txt", "plain.txt"},
		{"", "_"},
		{".", "_"},
		{"..", "__"},
		{"...", "..."},
		{".hidden", ".hidden"},
		{"a/b", "a_b"},
		{"../../etc", ".._.._etc"},
		{"nul\x00byte", "nul_byte"},
		{"tab\tnl\n\x7f\u0085", "tab_nl___"},
		{`back\slash`, `back\slash`},
		{"100%", "100%"},
		{"Навои 還在 🙂 é", "Навои 還在 🙂 é"},
		{"bad\x80utf\xff", "bad%80utf%FF"},
		{"overlong\xc0\xaf", "overlong%C0%AF"},
		{"surrogate\xed\xa0\x80", "surrogate%ED%A0%80"},
		{"replacement\ufffd", "replacement\ufffd"},
		{"gpj\u202etxt.exe", "gpj%E2%80%AEtxt.exe"},
		{"zero\u200bwidth\ufeff", "zero%E2%80%8Bwidth%EF%BB%BF"},
		{"line\u2028sep", "line%E2%80%A8sep"},
		{strings.Repeat("x", 255), strings.Repeat("x", 255)},
		{strings.Repeat("x", 256) + ".mkv", strings.Repeat("x", 242) + "~aa9cf6f2.mkv"},
		{long + ".flac", strings.Repeat("ä", 120) + "~a9b3a6f1.flac"},
	}
	for _, tt := range tests {
		got := SafeName(tt.in)
		if len(tt.in) > 255 { // the hash is checked for its place, not its digits
			if cut, ok := maskHash(got); !ok || cut != mustMask(t, tt.want) {
				t.Errorf("SafeName(%.10q…) = %q", tt.in, got)
			}
			continue
		}
		if got != tt.want {
			t.Errorf("SafeName(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
	if a, b := SafeName(strings.Repeat("x", 300)+"a"), SafeName(strings.Repeat("x", 300)+"b"); a == b {
		t.Error("two long names became one")
	}
}

func maskHash(s string) (string, bool) {
	i := strings.LastIndexByte(s, '~')
	if i < 0 || len(s) < i+9 {
		return s, false
	}
	return s[:i] + s[i+9:], true
}

func mustMask(t *testing.T, s string) string {
	m, ok := maskHash(s)
	if !ok {
		t.Fatalf("no hash in %q", s)
	}
	return m
}

func FuzzSafeName(f *testing.F) {
	for _, s := range []string{"", ".", "..", "a/b", "\x80", "\u202e", strings.Repeat("é", 300) + ".mp4", "a.b.c"} {
		f.Add(s)
	}
	for _, file := range []string{"utf8_test.txt", "utf8_latin1_test.txt"} {
		if text, err := os.ReadFile(filepath.Join(testdataDir(), "text", file)); err == nil {
			for line := range strings.Lines(string(text)) {
				f.Add(line)
			}
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		name := SafeName(s)
		checkName(t, name)
		if again := SafeName(name); again != name {
			t.Errorf("SafeName(%q) = %q, and of that %q", s, name, again)
		}
	})
}

// Lines of good text keep all their letters.
func TestSafeNameKeepsText(t *testing.T) {
	dir := testdata(t)
	for _, file := range []string{"utf8_test.txt", "utf8_latin1_test.txt"} {
		text, err := os.ReadFile(filepath.Join(dir, "text", file))
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(text) {
			t.Fatalf("%s is not UTF-8", file)
		}
		for line := range strings.Lines(string(text)) {
			for word := range strings.FieldsSeq(strings.ReplaceAll(line, "/", " ")) {
				if strings.ContainsFunc(word, invisible) || len(word) > maxName {
					continue
				}
				if got := SafeName(word); got != word && word != "." && word != ".." {
					t.Errorf("%s: SafeName(%q) = %q", file, word, got)
				}
			}
		}
	}
}

// makeTorrent builds a v1 torrent with 1-byte files of the given raw paths.
// A path "a -> b/c" is a link, whose target is relative to the top.
func makeTorrent(t testing.TB, name string, paths ...string) []byte {
	t.Helper()
	var files []any
	n := 0
	for _, p := range paths {
		p, target, isLink := strings.Cut(p, " -> ")
		f := map[string]any{"length": 1, "path": strings.Split(p, "/")}
		if isLink {
			f["attr"], f["symlink path"] = "l", strings.Split(target, "/")
			f["length"] = 0
		} else {
			n++
		}
		files = append(files, f)
	}
	const pieceLength = 1 << 20
	data, err := bencode.Encode(map[string]any{"info": map[string]any{
		"name": name, "piece length": pieceLength, "files": files,
		"pieces": make([]byte, 20*((n+pieceLength-1)/pieceLength)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func shown(t testing.TB, data []byte, lim Limits) (out []string) {
	t.Helper()
	m, err := Parse(data, lim)
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, m.Info)
	for _, f := range m.Info.Files {
		s := f.Path
		if f.Symlink != "" {
			s += " -> " + f.Symlink
		}
		if f.Omit {
			s = "(" + s + ")"
		}
		out = append(out, s)
	}
	return out
}

func TestUniquePaths(t *testing.T) {
	tests := []struct {
		about string
		in    []string
		lim   Limits
		want  []string
	}{
		{about: "duplicates", in: []string{"a.txt", "a.txt", "a.txt"}, want: []string{"t/a.txt", "t/a.1.txt", "t/a.2.txt"}},
		{about: "a name that was unique keeps it", in: []string{"a", "a", "a.1"}, want: []string{"t/a", "t/a.2", "t/a.1"}},
		{about: "file against directory", in: []string{"d", "d/x", "d"}, want: []string{"t/d.1", "t/d/x", "t/d.2"}},
		{about: "replaced elements", in: []string{"./x", "../x", "_/x", "__/x"}, want: []string{"t/_/x", "t/__/x", "t/_/x.1", "t/__/x.1"}},
		{about: "escaped bytes", in: []string{"a\xff", "a%FF"}, want: []string{"t/a%FF", "t/a%FF.1"}},
		{about: "case differs", in: []string{"A", "a"}, want: []string{"t/A", "t/a"}},
		{about: "case folded", in: []string{"A.x", "a.X", "Straße", "STRASSE"}, lim: Limits{FoldNames: true}, want: []string{"t/A.x", "t/a.1.X", "t/Straße", "t/STRASSE.1"}},
		{about: "normalisation folded", in: []string{"e\u0301", "é"}, lim: Limits{FoldNames: true}, want: []string{"t/e\u0301", "t/é.1"}},
		{about: "directories folded", in: []string{"Dir/a", "dir/b", "DIR/A"}, lim: Limits{FoldNames: true}, want: []string{"t/Dir/a", "t/Dir/b", "t/Dir/A.1"}},
	}
	for _, tt := range tests {
		if d := cmp.Diff(tt.want, shown(t, makeTorrent(t, "t", tt.in...), tt.lim)); d != "" {
			t.Errorf("%s: %s", tt.about, d)
		}
	}
}

func TestLinks(t *testing.T) {
	tests := []struct {
		about    string
		in, want []string
	}{
		{"beside", []string{"a/f", "a/l -> a/f"}, []string{"t/a/f", "t/a/l -> f"}},
		{"up and down", []string{"a/b/f", "c/d/l -> a/b/f"}, []string{"t/a/b/f", "t/c/d/l -> ../../a/b/f"}},
		{"to a directory", []string{"a/f", "l -> a"}, []string{"t/a/f", "t/l -> a"}},
		{"through a link", []string{"v/1/f", "v/cur -> v/1", "l -> v/cur/f"}, []string{"t/v/1/f", "t/v/cur -> 1", "t/l -> v/cur/f"}},
		{"nowhere", []string{"f", "l -> g"}, []string{"t/f", "(t/l)"}},
		{"out", []string{"f", "l -> ../f"}, []string{"t/f", "(t/l)"}},
		{"out and in again", []string{"f", "l -> ../t/f"}, []string{"t/f", "(t/l)"}},
		{"below a file", []string{"f", "l -> f/x"}, []string{"t/f", "(t/l)"}},
		{"to itself", []string{"f", "l -> l"}, []string{"t/f", "(t/l)"}},
		{"in a loop", []string{"f", "l -> m", "m -> n", "n -> l"}, []string{"t/f", "(t/l)", "(t/m)", "(t/n)"}},
		{"to a directory around it", []string{"a/b/f", "a/b/l -> a"}, []string{"t/a/b/f", "(t/a/b/l)"}},
		{"to the top", []string{"f", "l -> ."}, []string{"t/f", "(t/l)"}},
		{"with dots inside", []string{"a/f", "l -> a/./../a/f"}, []string{"t/a/f", "t/l -> a/f"}},
		{"a repaired name", []string{"a\x01/f", "l -> a\x01/f"}, []string{"t/a_/f", "t/l -> a_/f"}},
		{"a repaired link", []string{"f", "f -> f"}, []string{"t/f", "t/f.1 -> f"}},
		{"a dotted link name", []string{"f", ".. -> f"}, []string{"t/f", "t/__ -> f"}},
	}
	for _, tt := range tests {
		if d := cmp.Diff(tt.want, shown(t, makeTorrent(t, "t", tt.in...), Limits{})); d != "" {
			t.Errorf("%s: %s", tt.about, d)
		}
	}
	chain := []string{"f"}
	for i := range 50 {
		next := string(rune('A'+(i+1)%26)) + strings.Repeat("x", (i+1)/26)
		if i == 49 {
			next = "f"
		}
		chain = append(chain, string(rune('A'+i%26))+strings.Repeat("x", i/26)+" -> "+next)
	}
	var omitted int
	for _, s := range shown(t, makeTorrent(t, "t", chain...), Limits{}) {
		if strings.HasPrefix(s, "(") {
			omitted++
		}
	}
	if omitted != 50-maxLinkHops {
		t.Errorf("of a chain of 50 links %d are left out, want those with more than %d hops", omitted, maxLinkHops)
	}
}

// For any paths the names are safe and unique (checkTree), even if case and normalisation do not
// count.
func TestNamesProperty(t *testing.T) {
	elem := rapid.OneOf(
		rapid.SampledFrom([]string{"", ".", "..", "a", "A", "b", "é", "e\u0301", "a.1", "a.txt", "A.TXT", "_", "__", "\xff", "%FF", "a/b", "a\x00", "\u202e", strings.Repeat("n", 254), strings.Repeat("n", 300)}),
		rapid.String(),
		rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")) }),
	)
	file := rapid.Custom(func(t *rapid.T) map[string]any {
		f := map[string]any{"length": 1, "path": rapid.SliceOfN(elem, 1, 4).Draw(t, "path")}
		if rapid.IntRange(0, 4).Draw(t, "link") == 0 {
			f["attr"], f["symlink path"] = "l", rapid.SliceOfN(elem, 0, 4).Draw(t, "target")
		}
		return f
	})
	rapid.Check(t, func(rt *rapid.T) {
		files := rapid.SliceOfN(file, 0, 12).Draw(rt, "files")
		list := []any{map[string]any{"length": 1, "path": []string{"first"}}}
		for _, f := range files {
			list = append(list, f)
		}
		data, err := bencode.Encode(map[string]any{"info": map[string]any{
			"name": elem.Draw(rt, "name"), "piece length": 16384, "files": list, "pieces": make([]byte, 20),
		}})
		if err != nil {
			rt.Fatal(err)
		}
		fold := rapid.Bool().Draw(rt, "fold")
		m, err := Parse(data, Limits{FoldNames: fold})
		if err != nil {
			rt.Fatal(err)
		}
		checkTree(t, m.Info)
		if !fold {
			return
		}
		c := cases.Fold()
		seen := map[string]string{}
		for _, f := range m.Info.Files {
			key := norm.NFC.String(c.String(norm.NFD.String(f.Path)))
			if other, ok := seen[key]; ok {
				rt.Fatalf("%q and %q are one name on some file systems", other, f.Path)
			}
			seen[key] = f.Path
		}
	})
}

// Raw gives back the spelling of the torrent, whether or not it shares memory
// with the path.
func TestRawPath(t *testing.T) {
	m, err := Parse(makeTorrent(t, "t", "a/b\x01/c", "x"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Info.Files[0].Raw; !slices.Equal(got, []string{"a", "b\x01", "c"}) {
		t.Errorf("raw path %q", got)
	}
	if got := m.Info.Files[1].Raw; !slices.Equal(got, []string{"x"}) {
		t.Errorf("raw path %q", got)
	}
}

// Many files of one long name must not take quadratic time.
func TestManyClashes(t *testing.T) {
	const n = 20_000
	paths := make([]string, n)
	for i := range paths {
		paths[i] = strings.Repeat("x", 130)
	}
	m, err := Parse(makeTorrent(t, "t", paths...), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Info.Files[n-1].Path; got != "t/"+paths[0]+".19999" {
		t.Errorf("last file %q", got)
	}
}

// A v2 tree can name long paths at little cost; their memory is limited.
func TestNameMemoryIsLimited(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("d4:infod9:file tree")
	deep := strings.Repeat("n", 250)
	for range 80 {
		b.WriteString("d250:" + deep)
	}
	b.WriteString("d")
	for i := range 1000 {
		b.WriteString("5:")
		b.WriteString(string([]byte{'a' + byte(i/10000), '0' + byte(i/1000%10), '0' + byte(i/100%10), '0' + byte(i/10%10), '0' + byte(i%10)}))
		b.WriteString("d0:d6:lengthi0eee")
	}
	b.WriteString(strings.Repeat("e", 81))
	b.WriteString("12:meta versioni2e4:name1:n12:piece lengthi16384eee")
	if _, err := Parse(b.Bytes(), Limits{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("21 MB of paths: %v", err)
	}
	if _, err := Parse(b.Bytes(), Limits{nameBytes: 20 << 20}); !errors.Is(err, ErrLimit) {
		t.Errorf("21 MB of paths where 20 are allowed: %v", err)
	}
}
