package golden

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Hex compares bytes with those of a file, which is a dump in hexadecimal, and returns the latter.
func Hex(t testing.TB, name string, got []byte) []byte {
	t.Helper()
	if *update {
		write(t, name, hex.Dump(got))
	}
	want := decode(t, read(t, name))
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the bytes are others now:\n%s", name, hex.Dump(got))
	}
	return want
}

// Text compares a text with a file.
func Text(t testing.TB, name, got string) {
	t.Helper()
	if *update {
		write(t, name, got)
	}
	if want := read(t, name); got != want {
		t.Errorf("%s: got\n%swant\n%s", name, got, want)
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// decode reverses [hex.Dump].
func decode(t testing.TB, text string) (b []byte) {
	t.Helper()
	for line := range strings.Lines(text) {
		_, line, _ = strings.Cut(line, "  ")
		line, _, _ = strings.Cut(line, "|")
		var err error
		if b, err = hex.AppendDecode(b, []byte(strings.Join(strings.Fields(line), ""))); err != nil {
			t.Fatal(err)
		}
	}
	return b
}
