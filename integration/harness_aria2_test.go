//go:build linux

package integration

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
	*process
	port   int
	marker string // a file that appears when it has everything
}

// startAria2 starts a client that checks what it finds in data, downloads the
// rest there and seeds. Peers come from the tracker, or connect to it: it has
// no option that names one.
func startAria2(t testing.TB, torrent, data string, flags ...string) *aria2 {
	t.Helper()
	need(t, "aria2c")
	port := freePort(t)
	home := scratch(t)
	hook, marker := filepath.Join(home, "complete.sh"), filepath.Join(home, "complete")
	if err := os.WriteFile(hook, fmt.Appendf(nil, "#!/bin/sh\n: > '%s'\n", marker), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	c := command{name: "aria2c", env: homeIn(home), args: slices.Concat([]string{
		"--no-conf", "--dir", data, "--listen-port", strconv.Itoa(port), "--interface", env.addr,
		"--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false",
		"--check-integrity=true", "--allow-overwrite=true", "--file-allocation=none", "--seed-ratio=0.0", "--bt-hash-check-seed=true",
		"--bt-tracker-interval=2", "--summary-interval=0", "--on-bt-download-complete", hook, "--enable-color=false", "--console-log-level=notice",
	}, flags, []string{torrent})}
	a := &aria2{process: c.start(t), port: port, marker: marker}
	listens(t, port)
	return a
}

func (c *aria2) peer() string { return hostPort(c.port) }

// complete waits until the client has, and has checked, everything.
func (c *aria2) complete() {
	c.t.Helper()
	eventually(c.t, "aria2c is complete", func() bool { _, err := os.Stat(c.marker); return err == nil })
}
