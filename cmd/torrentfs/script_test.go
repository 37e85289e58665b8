package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptPatience bounds how long a script waits for another process.
const scriptPatience = time.Minute

func countLines(s string) int { return strings.Count(s, "\n") }

// scriptRandom writes a file of random bytes, always the same for a size:
// random FILE SIZE.
func scriptRandom(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: random FILE SIZE")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(data) // never fails
	name := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(name), 0o755))
	ts.Check(os.WriteFile(name, data, 0o644))
}

// scriptDamage flips a bit: damage FILE OFFSET.
func scriptDamage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage FILE OFFSET")
	}
	off, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close() //nolint:errcheck // closed again below
	var b [1]byte
	_, err = f.ReadAt(b[:], off)
	ts.Check(err)
	b[0] ^= 1
	_, err = f.WriteAt(b[:], off)
	ts.Check(err)
	ts.Check(f.Close())
}

// scriptMounted waits until a torrent is mounted on a directory, or no longer
// is: [!] mounted DIR.
func scriptMounted(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] mounted DIR")
	}
	dir, err := mountpointPath(ts.MkAbs(args[0]))
	ts.Check(err)
	waitUntil(ts, func() bool {
		ours, err := isOurMount(dir)
		ts.Check(err)
		return ours != neg
	}, "mounted %s", args[0])
}

// scriptWaitGrep waits until a file has a line that matches: waitgrep REGEXP FILE.
func scriptWaitGrep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitgrep REGEXP FILE")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	waitUntil(ts, func() bool {
		data, err := os.ReadFile(ts.MkAbs(args[1]))
		return err == nil && re.Match(data)
	}, "%s in %s", args[0], args[1])
}

func waitUntil(ts *testscript.TestScript, done func() bool, format string, args ...any) {
	for deadline := time.Now().Add(scriptPatience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("waited in vain for: "+format, args...)
		}
	}
}
