//go:build linux

package integration

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A service manager hears when the mount is there, how it is doing, and that it ends (sd_notify(3)).
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	c := makeFile(t, 100_000, 61).create(t)
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	socket := filepath.Join(scratch(t), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := func(want string) {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for buf := make([]byte, 4096); ; {
			n, err := l.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if strings.HasPrefix(string(buf[:n]), want) {
				return
			}
		}
	}
	cmd := torrentfs(t)
	cmd.env = append(cmd.env, "NOTIFY_SOCKET="+socket)
	m := startMount(t, cmd, c.torrent, scratch(t), mountpoint(t), "--no-trackers", "--peer", s.peer())
	heard("READY=1")
	heard("STATUS=")
	sameFile(t, c.root(), m.path(c.name))
	m.stop()
	heard("STOPPING=1")
}
