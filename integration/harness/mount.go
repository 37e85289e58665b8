//go:build linux

package harness

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

// Server is a torrentfs command that runs until a signal: mount or seed.
type Server struct {
	*Process
	Torrent string
	Data    string // its --data-dir
	Port    int64  // for incoming peers
}

// Peer is the server's address, for --peer.
func (s *Server) Peer() string { return HostPort(s.Port) }

func HostPort[N int | int64](port N) string {
	return Env.Addr + ":" + strconv.FormatInt(int64(port), 10)
}

// LogFlags make a log that the tests can follow.
var LogFlags = []string{"--log-format", "json", "--log-level", "debug", "--status-interval", "100ms"}

// Seed seeds data with our own program.
func Seed(t testing.TB, torrent, data string, flags ...string) *Server {
	t.Helper()
	args := slices.Concat([]string{"seed", torrent, "--data-dir", data}, LogFlags, flags)
	s := &Server{Process: Torrentfs(t, args...).Start(t), Torrent: torrent, Data: data}
	s.Port = s.Logged("seeding", nil).Number("port")
	return s
}

// Stop ends the server as Ctrl-C does, and returns its last figures.
func (s *Server) Stop() Record {
	s.T.Helper()
	s.Signal(syscall.SIGINT)
	s.Succeed()
	return s.Logged("stopped", nil)
}

// Mount is a mounted torrent.
type Mount struct {
	*Server
	Dir string // the mount point
}

// MountTorrent mounts a torrent on a new directory, with new data.
func MountTorrent(t testing.TB, torrent string, flags ...string) *Mount {
	t.Helper()
	return MountAt(t, torrent, Scratch(t), Mountpoint(t), flags...)
}

// MountAt mounts a torrent and waits until it is ready. The test fails if the
// mount does not go away as it should when the test ends.
func MountAt(t testing.TB, torrent, data, dir string, flags ...string) *Mount {
	t.Helper()
	return StartMount(t, Torrentfs(t), torrent, data, dir, flags...)
}

// StartMount is mountAt with a say in how the program is run.
func StartMount(t testing.TB, c Command, torrent, data, dir string, flags ...string) *Mount {
	t.Helper()
	c.Args = slices.Concat([]string{"mount", torrent, dir, "--data-dir", data}, LogFlags, flags)
	m := &Mount{Server: &Server{Process: c.Start(t), Torrent: torrent, Data: data}, Dir: dir}
	t.Cleanup(m.CleanUp)
	m.Port = m.Logged("torrent added", nil).Number("port")
	m.Logged("mounted", nil)
	if !Mounted(t, dir) {
		t.Fatalf("mount says that it is ready, and %s is no mount point", dir)
	}
	return m
}

// CleanUp ends a mount that the test did not end, and is as strict about it.
func (m *Mount) CleanUp() {
	if m.Running() && !m.T.Failed() {
		m.Stop()
	}
	if m.T.Failed() && m.Running() {
		m.Signal(syscall.SIGKILL) // whatever it is stuck in; its readers are freed by that
	}
	if !Mounted(m.T, m.Dir) {
		return
	}
	if !m.T.Failed() { // a server that had to be killed cannot unmount
		m.T.Errorf("left mounted: %s", m.Dir)
	}
	if err := Detach(m.Dir); err != nil {
		m.T.Error(err)
	}
}

// Stop ends the mount as Ctrl-C does and returns its last figures. It fails
// the test if the directory is still a mount point.
func (m *Mount) Stop() Record {
	m.T.Helper()
	last := m.Server.Stop()
	if Mounted(m.T, m.Dir) {
		m.T.Errorf("the process has ended, and %s is still mounted", m.Dir)
	}
	return last
}

// Path is a path in the mount. Only other processes should open it.
func (m *Mount) Path(elem ...string) string {
	return filepath.Join(append([]string{m.Dir}, elem...)...)
}

// Complete waits until all of the torrent is here.
func (m *Mount) Complete() {
	m.T.Helper()
	m.Logged("status", func(r Record) bool { return r.Number("verified") == r.Number("total") })
}

// Idle waits until no read waits for the swarm any more.
func (m *Mount) Idle() {
	m.T.Helper()
	since := len(m.Stderr.Text())
	Eventually(m.T, "no read waits any more", func() bool {
		lines := strings.Split(strings.TrimSpace(m.Stderr.Text()[since:]), "\n")
		last := lines[len(lines)-1]
		return strings.Contains(last, `"msg":"status"`) && !strings.Contains(last, "reads_waiting")
	})
}

// Blocked waits until at least so many reads wait for the swarm.
func (m *Mount) Blocked(reads int64) {
	m.T.Helper()
	since := time.Now()
	m.Logged("status", func(r Record) bool {
		at, err := time.Parse(time.RFC3339Nano, r["time"].(string))
		return err == nil && at.After(since) && r.Number("reads_waiting") >= reads
	})
}

// Scratch is a new directory that is removed after the test, unless something
// is still mounted in it.
func Scratch(t testing.TB) string {
	t.Helper()
	name := regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(t.Name(), "-")
	dir, err := os.MkdirTemp(Env.scratch, name+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if points, err := MountsBelow(dir); err != nil || len(points) > 0 {
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

// Mountpoint is a new, empty directory. It is not scratch itself, so that what
// a test may do to its parent is not done to it.
func Mountpoint(t testing.TB) string {
	t.Helper()
	return Mkdir(t, Scratch(t), "mnt")
}

func Mkdir(t testing.TB, elem ...string) string {
	t.Helper()
	dir := filepath.Join(elem...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Mounted reports whether dir is a mount point, without touching it.
func Mounted(t testing.TB, dir string) bool {
	t.Helper()
	points, err := MountsBelow(dir)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(points, dir)
}

// MountsBelow lists the mount points at and below dir, the last made first.
func MountsBelow(dir string) ([]string, error) {
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

// Detach takes a mount out of the tree, whoever uses it.
func Detach(dir string) error {
	if os.Geteuid() != 0 {
		return exec.Command("fusermount3", "-u", "-z", dir).Run()
	}
	return os.NewSyscallError("umount", unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
}

// ColdMount is a mount of new content with nothing here yet, and one seed.
func ColdMount(t *testing.T, c Content, flags ...string) *Mount {
	t.Helper()
	s := Seed(t, c.Torrent, c.Dir, "--no-trackers")
	return MountTorrent(t, c.Torrent, append(flags, "--no-trackers", "--peer", s.Peer())...)
}

// MountOn mounts the torrent with its data on a disk, and peers to ask.
func MountOn(t testing.TB, c Content, disk string, peers []*Server, flags ...string) *Mount {
	t.Helper()
	flags = slices.Concat([]string{"--no-trackers"}, flags)
	for _, p := range peers {
		flags = append(flags, "--peer", p.Peer())
	}
	return MountAt(t, c.Torrent, disk, Mountpoint(t), flags...)
}

// Complaints counts the lines that say that the disk fails.
func (m *Mount) Complaints() int { return strings.Count(m.Stderr.Text(), `"msg":"disk fails"`) }

// ComplainsOnce checks that the log has said so far once that the disk fails.
func (m *Mount) ComplainsOnce() {
	m.T.Helper()
	m.Logged("disk fails", nil)
	if n := m.Complaints(); n != 1 {
		m.T.Errorf("%d lines say that the disk fails, want one", n)
	}
}
