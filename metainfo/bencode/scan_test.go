package bencode

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestScan(t *testing.T) {
	tests := []struct {
		in   string
		end  int
		err  error
		path string
	}{
		{in: "i0e", end: 3},
		{in: "i-1e", end: 4},
		{in: "i9223372036854775807e", end: 21},
		{in: "i-9223372036854775808e", end: 22},
		{in: "0:", end: 2},
		{in: "3:abc", end: 5},
		{in: "le", end: 2},
		{in: "de", end: 2},
		{in: "d1:ai1e1:bli2e0:ee", end: 18},
		{in: "d1:bi1e1:ai2eetail", end: 14}, // unsorted, and a payload behind
		{in: "i1ei2e", end: 3},

		{in: "", err: ErrTruncated},
		{in: "x", err: ErrSyntax},
		{in: "e", err: ErrSyntax},
		{in: "i", err: ErrTruncated},
		{in: "i1", err: ErrTruncated},
		{in: "ie", err: ErrInteger},
		{in: "i-e", err: ErrInteger},
		{in: "i-0e", err: ErrInteger},
		{in: "i00e", err: ErrInteger},
		{in: "i007e", err: ErrInteger},
		{in: "i-07e", err: ErrInteger},
		{in: "i+7e", err: ErrInteger},
		{in: "i1.5e", err: ErrInteger},
		{in: "i 1e", err: ErrInteger},
		{in: "i9223372036854775808e", err: ErrInteger},
		{in: "i-9223372036854775809e", err: ErrInteger},
		{in: "i18446744073709551617e", err: ErrInteger},
		{in: "i" + strings.Repeat("9", 1000) + "e", err: ErrInteger},
		{in: "-1:", err: ErrSyntax},
		{in: "1:", err: ErrLength},
		{in: "00:", err: ErrLength},
		{in: "003:abc", err: ErrLength},
		{in: "9999999999:", err: ErrLength},
		{in: "2000000000000000000:", err: ErrLength},
		{in: "99999999999999999999999999999999:", err: ErrLength},
		{in: "12", err: ErrLength},
		{in: "1", err: ErrTruncated},
		{in: "l", err: ErrTruncated},
		{in: "li1e", err: ErrTruncated},
		{in: "d", err: ErrTruncated},
		{in: "d1:a", err: ErrTruncated, path: "a"},
		{in: "d1:ae", err: ErrSyntax, path: "a"},
		{in: "d10000000000", err: ErrLength},
		{in: "d3:000e", err: ErrSyntax, path: "000"},
		{in: "di1ei2ee", err: ErrKey},
		{in: "d1:ai1e1:ai2ee", err: ErrDuplicate, path: "a"},
		{in: "d1:bi1e1:ai1e1:bi2ee", err: ErrDuplicate, path: "b"},
		{in: "d4:infod5:filesld6:lengthi1eed6:lengthi01eeeee", err: ErrInteger, path: "info.files[1].length"},
		{in: "d4:infod1:\x00lee4:zzzzi-0ee", err: ErrInteger, path: "zzzz"},
		{in: "d2:a\"i-0ee", err: ErrInteger, path: `"a\""`},
		{in: strings.Repeat("l", 101), err: ErrDepth, path: strings.Repeat("[0]", 8) + "…"},
		{in: strings.Repeat("d0:", 101) + "x", err: ErrDepth},
	}
	for _, tt := range tests {
		end, err := Scan([]byte(tt.in), Limits{})
		name := tt.in[:min(len(tt.in), 30)]
		if !errors.Is(err, tt.err) || end != tt.end {
			t.Errorf("Scan(%q) = %d, %v; want %d, %v", name, end, err, tt.end, tt.err)
		}
		var se *SyntaxError
		if tt.err != nil {
			if !errors.As(err, &se) {
				t.Errorf("Scan(%q): %T is no *SyntaxError", name, err)
			} else if tt.path != "" && se.Path != tt.path {
				t.Errorf("Scan(%q): path %q, want %q", name, se.Path, tt.path)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("Scan(%q): error of several lines: %q", name, err)
			}
		}
	}
}

func TestScanLimits(t *testing.T) {
	deep := strings.Repeat("l", 100) + strings.Repeat("e", 100)
	if _, err := Scan([]byte(deep), Limits{}); err != nil {
		t.Errorf("depth 100: %v", err)
	}
	if _, err := Scan([]byte(deep), Limits{Depth: 99}); !errors.Is(err, ErrDepth) {
		t.Errorf("depth 100 of 99: %v", err)
	}
	if _, err := Scan([]byte("d1:ai1ee"), Limits{Items: 3}); err != nil {
		t.Errorf("3 items of 3: %v", err)
	}
	if _, err := Scan([]byte("d1:ai1ee"), Limits{Items: 2}); !errors.Is(err, ErrItems) {
		t.Errorf("3 items of 2: %v", err)
	}
	if _, err := Scan([]byte("l"+strings.Repeat("le", DefaultItems)+"e"), Limits{}); !errors.Is(err, ErrItems) {
		t.Errorf("3,000,001 items: %v", err)
	}
	if _, err := Scan([]byte("d1:bi1e1:ai2ee"), Limits{Sorted: true}); !errors.Is(err, ErrUnsorted) {
		t.Errorf("unsorted: %v", err)
	}
	if err := ScanAll([]byte("i1e "), Limits{}); !errors.Is(err, ErrTrailing) {
		t.Errorf("trailing: %v", err)
	}
	if err := ScanAll([]byte("i1e"), Limits{}); err != nil {
		t.Errorf("ScanAll: %v", err)
	}
}

// A dictionary of many keys in the worst order must not take quadratic time,
// nor nested ones the product of their depth and size: this finishes at once
// or not at all.
func TestScanUnsortedIsNotQuadratic(t *testing.T) {
	const n = 200_000
	b := []byte("d")
	for i := range n {
		k := strconv.Itoa(2*n - i)
		b = append(b, strconv.Itoa(len(k))+":"+k+"0:"...)
	}
	b = append(b, 'e')
	if _, err := Scan(b, Limits{}); err != nil {
		t.Fatal(err)
	}
}

func TestScanDoesNotAllocatePerItem(t *testing.T) {
	in := []byte("l" + strings.Repeat("d6:lengthi1e4:pathl1:aee", 10_000) + "e")
	n := testing.AllocsPerRun(3, func() {
		if _, err := Scan(in, Limits{}); err != nil {
			t.Fatal(err)
		}
	})
	if n > 20 {
		t.Errorf("%v allocations for 10,000 dictionaries", n)
	}
}

func TestReadIntBounds(t *testing.T) {
	for _, want := range []int64{0, 1, -1, 10, math.MaxInt64, math.MinInt64, math.MinInt64 + 1} {
		got, _, err := readInt([]byte("i"+strconv.FormatInt(want, 10)+"e"), 0)
		if err != nil || got != want {
			t.Errorf("readInt(%d) = %d, %v", want, got, err)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	in := []byte("l" + strings.Repeat("d6:lengthi12345e4:pathl5:abcde11:file00.dateee", 100_000) + "e")
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, err := Scan(in, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzScan holds that Scan never panics, that what it accepts bencode-go
// decodes without error, that encoding the result gives back sorted input, and
// that a Cursor agrees with Scan on where the value ends.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		"de", "i-1e", "l1:ai2eld1:xi0eeee", "d1:bi1e1:ai2eetail", "00:", "i-0e", "d3:000e",
		"d4:infod6:lengthi5e4:name1:aee", "9999999999:", strings.Repeat("l", 200), "-1:",
	} {
		f.Add([]byte(s))
	}
	for _, seed := range corpusSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		end, err := Scan(data, Limits{})
		if err != nil {
			return
		}
		raw, err := NewCursor(data).Skip()
		if err != nil || len(raw) != end {
			t.Fatalf("cursor ends at %d (%v), scan at %d", len(raw), err, end)
		}
		v, n, err := Decode(data, Limits{})
		if err != nil || n != end {
			t.Fatalf("Decode = %d, %v; Scan ended at %d", n, err, end)
		}
		d, ok := v.(Dict)
		if !ok {
			return
		}
		out, err := Encode(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Scan(data, Limits{Sorted: true}); err == nil && string(out) != string(data[:end]) {
			t.Fatalf("encode(decode(%q)) = %q", data[:end], out)
		}
	})
}

// corpusSeeds returns past crashers of other decoders, if the test data is there.
func corpusSeeds(tb testing.TB) (seeds [][]byte) {
	dir := os.Getenv("TORRENTFS_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "testdata")
	}
	files, _ := filepath.Glob(filepath.Join(dir, "torrents", "gofuzz", "bencode-*", "*"))
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			lit, ok := strings.CutPrefix(strings.TrimSpace(line), "[]byte(")
			if !ok {
				continue
			}
			s, err := strconv.Unquote(strings.TrimSuffix(lit, ")"))
			if err != nil {
				tb.Fatalf("read seed %s: %v", f, err)
			}
			seeds = append(seeds, []byte(s))
		}
	}
	return seeds
}

func TestPastCrashersAreRefused(t *testing.T) {
	seeds := corpusSeeds(t)
	if len(seeds) == 0 {
		t.Skip("test data not found: set TORRENTFS_TESTDATA")
	}
	for _, s := range seeds {
		if err := ScanAll(s, Limits{}); err == nil {
			t.Errorf("Scan(%q) succeeded", s)
		}
	}
}
