//go:build linux

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"torrentfs/fs/mounttable"
)

// server is a torrentfs command that runs until a signal: mount or seed.
type server struct {
	*process
	torrent string
	data    string // its --data-dir
	port    int64  // for incoming peers
}

// peer is the server's address, for --peer.
func (s *server) peer() string { return hostPort(s.port) }

func hostPort[N int | int64](port N) string {
	return env.addr + ":" + strconv.FormatInt(int64(port), 10)
}

// logFlags make a log that the tests can follow.
var logFlags = []string{"--log-format", "json", "--log-level", "debug", "--status-interval", "100ms"}

// seed seeds data with our own program.
func seed(t testing.TB, torrent, data string, flags ...string) *server {
	t.Helper()
	args := slices.Concat([]string{"seed", torrent, "--data-dir", data}, logFlags, flags)
	s := &server{process: torrentfs(t, args...).start(t), torrent: torrent, data: data}
	s.port = s.logged("seeding", nil).number("port")
	return s
}

// stop ends the server as Ctrl-C does, and returns its last figures.
func (s *server) stop() record {
	s.t.Helper()
	s.signal(syscall.SIGINT)
	s.succeed()
	return s.logged("stopped", nil)
}

// mount is a mounted torrent.
type mount struct {
	*server
	dir string // the mount point
}

// mountTorrent mounts a torrent on a new directory, with new data.
func mountTorrent(t testing.TB, torrent string, flags ...string) *mount {
	t.Helper()
	return mountAt(t, torrent, scratch(t), mountpoint(t), flags...)
}

// mountAt mounts a torrent and waits until it is ready. The test fails if the
// mount does not go away as it should when the test ends.
func mountAt(t testing.TB, torrent, data, dir string, flags ...string) *mount {
	t.Helper()
	return startMount(t, torrentfs(t), torrent, data, dir, flags...)
}

// startMount is mountAt with a say in how the program is run.
func startMount(t testing.TB, c command, torrent, data, dir string, flags ...string) *mount {
	t.Helper()
	c.args = slices.Concat([]string{"mount", torrent, dir, "--data-dir", data}, logFlags, flags)
	m := &mount{server: &server{process: c.start(t), torrent: torrent, data: data}, dir: dir}
	t.Cleanup(m.cleanUp)
	m.port = m.logged("torrent added", nil).number("port")
	m.logged("mounted", nil)
	if !mounted(t, dir) {
		t.Fatalf("mount says that it is ready, and %s is no mount point", dir)
	}
	return m
}

// cleanUp ends a mount that the test did not end, and is as strict about it.
func (m *mount) cleanUp() {
	if m.running() && !m.t.Failed() {
		m.stop()
	}
	if m.t.Failed() && m.running() {
		m.signal(syscall.SIGKILL) // whatever it is stuck in; its readers are freed by that
	}
	if !mounted(m.t, m.dir) {
		return
	}
	if !m.t.Failed() { // a server that had to be killed cannot unmount
		m.t.Errorf("left mounted: %s", m.dir)
	}
	if err := detach(m.dir); err != nil {
		m.t.Error(err)
	}
}

// stop ends the mount as Ctrl-C does and returns its last figures. It fails
// the test if the directory is still a mount point.
func (m *mount) stop() record {
	m.t.Helper()
	last := m.server.stop()
	if mounted(m.t, m.dir) {
		m.t.Errorf("the process has ended, and %s is still mounted", m.dir)
	}
	return last
}

// path is a path in the mount. Only other processes should open it.
func (m *mount) path(elem ...string) string {
	return filepath.Join(append([]string{m.dir}, elem...)...)
}

// complete waits until all of the torrent is here.
func (m *mount) complete() {
	m.t.Helper()
	m.logged("status", func(r record) bool { return r.number("verified") == r.number("total") })
}

// idle waits until no read waits for the swarm any more.
func (m *mount) idle() {
	m.t.Helper()
	since := len(m.stderr.text())
	eventually(m.t, "no read waits any more", func() bool {
		lines := strings.Split(strings.TrimSpace(m.stderr.text()[since:]), "\n")
		last := lines[len(lines)-1]
		return strings.Contains(last, `"msg":"status"`) && !strings.Contains(last, "reads_waiting")
	})
}

// blocked waits until at least so many reads wait for the swarm.
func (m *mount) blocked(reads int64) {
	m.t.Helper()
	since := time.Now()
	m.logged("status", func(r record) bool {
		at, err := time.Parse(time.RFC3339Nano, r["time"].(string))
		return err == nil && at.After(since) && r.number("reads_waiting") >= reads
	})
}

// scratch is a new directory that is removed after the test, unless something
// is still mounted in it.
func scratch(t testing.TB) string {
	t.Helper()
	name := regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(t.Name(), "-")
	dir, err := os.MkdirTemp(env.scratch, name+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if points, err := mountsBelow(dir); err != nil || len(points) > 0 {
			t.Errorf("cannot remove %s: mounted: %v, %v", dir, points, err)
			return
		}
		// Directories copied from a mount cannot be written.
		if err := exec.Command("chmod", "-R", "u+rwX", dir).Run(); err != nil {
			t.Error("chmod:", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// mountpoint is a new, empty directory. It is not scratch itself, so that what
// a test may do to its parent is not done to it.
func mountpoint(t testing.TB) string {
	t.Helper()
	return mkdir(t, scratch(t), "mnt")
}

func mkdir(t testing.TB, elem ...string) string {
	t.Helper()
	dir := filepath.Join(elem...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mounted reports whether dir is a mount point, without touching it.
func mounted(t testing.TB, dir string) bool {
	t.Helper()
	points, err := mountsBelow(dir)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(points, dir)
}

// mountsBelow lists the mount points at and below dir, the last made first.
func mountsBelow(dir string) ([]string, error) {
	table, err := mounttable.Own()
	if err != nil {
		return nil, err
	}
	var points []string
	for _, m := range table {
		if m.Point == dir || strings.HasPrefix(m.Point, dir+"/") {
			points = append(points, m.Point)
		}
	}
	slices.Reverse(points)
	return points, nil
}

// detach takes a mount out of the tree, whoever uses it.
func detach(dir string) error {
	if os.Geteuid() != 0 {
		return exec.Command("fusermount3", "-u", "-z", dir).Run()
	}
	return os.NewSyscallError("umount", unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
}
