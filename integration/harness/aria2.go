//go:build linux

package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// aria2 is an aria2c with one torrent.
type aria2 struct {
	*Process
	port   int
	marker string // a file that appears when it has everything
}

// StartAria2 starts a client that checks what it finds in data, downloads the
// rest there and seeds. Peers come from the tracker, or connect to it: it has
// no option that names one.
func StartAria2(t testing.TB, torrent, data string, flags ...string) *aria2 {
	t.Helper()
	Need(t, "aria2c")
	port := FreePort(t)
	home := Scratch(t)
	hook, marker := filepath.Join(home, "complete.sh"), filepath.Join(home, "complete")
	if err := os.WriteFile(hook, fmt.Appendf(nil, "#!/bin/sh\n: > '%s'\n", marker), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	c := Command{Name: "aria2c", Env: HomeIn(home), Args: slices.Concat([]string{
		"--no-conf", "--dir", data, "--listen-port", strconv.Itoa(port), "--interface", Env.Addr,
		"--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false",
		"--check-integrity=true", "--allow-overwrite=true", "--file-allocation=none", "--seed-ratio=0.0", "--bt-hash-check-seed=true",
		"--bt-tracker-interval=2", "--summary-interval=0", "--on-bt-download-complete", hook, "--enable-color=false", "--console-log-level=notice",
	}, flags, []string{torrent})}
	a := &aria2{Process: c.Start(t), port: port, marker: marker}
	Listens(t, port)
	return a
}

func (c *aria2) Peer() string { return HostPort(c.port) }

// Complete waits until the client has, and has checked, everything.
func (c *aria2) Complete() {
	c.T.Helper()
	Eventually(c.T, "aria2c is complete", func() bool { _, err := os.Stat(c.marker); return err == nil })
}
