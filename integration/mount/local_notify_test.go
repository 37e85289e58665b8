//go:build linux

package mount

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"torrentfs/integration/harness"
)

// A service manager hears when the mount is there, how it is doing, and that it ends (sd_notify(3)).
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	c := harness.MakeFile(t, 100_000, 61).Create(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	socket := filepath.Join(harness.Scratch(t), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := func(want string) {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(harness.Patience)); err != nil {
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
	cmd := harness.Torrentfs(t)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket)
	m := harness.StartMount(t, cmd, c.Torrent, harness.Scratch(t), harness.Mountpoint(t), "--no-trackers", "--peer", s.Peer())
	heard("READY=1")
	heard("STATUS=")
	harness.SameFile(t, c.Root(), m.Path(c.Name))
	m.Stop()
	heard("STOPPING=1")
}
