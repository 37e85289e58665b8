//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// deadMount is a mount whose reads wait for ever: there is no peer.
func deadMount(t *testing.T) *mount {
	t.Helper()
	return mountTorrent(t, makeFile(t, 4<<20, 60).create(t).torrent, "--no-trackers")
}

// A readingProgram reads a file from an offset on.
type readingProgram struct {
	name string
	read func(name string, off int) command
}

var (
	// streaming reads on and on, so that the kernel reads ahead for it.
	streaming = readingProgram{"stream", func(name string, off int) command {
		return tool("tail", "-c", fmt.Sprintf("+%d", off+1), name)
	}}
	// probing reads a little in the middle: the kernel asks for that page alone.
	probing = readingProgram{"probe", func(name string, off int) command {
		return tool("dd", "if="+name, "of=/dev/null", "bs=1000", "count=1", "iflag=skip_bytes", fmt.Sprintf("skip=%d", off))
	}}
)

// blockedReaders starts processes that read different places, and waits until
// all of them wait.
func blockedReaders(t *testing.T, m *mount, n int, with readingProgram) []*process {
	t.Helper()
	name := strings.TrimSuffix(tool("ls", m.dir).run(t), "\n")
	readers := make([]*process, n)
	for i := range readers {
		readers[i] = with.read(m.path(name), i*300_000).start(t)
	}
	m.blocked(int64(n))
	return readers
}

// A blocked read is cancelled by a signal to its process, and nothing of it
// stays behind in the server: a demand that nobody waits for would take the
// swarm's time from those who do.
func TestBlockedReadIsCancelled(t *testing.T) {
	t.Parallel()
	for _, with := range []readingProgram{streaming, probing} {
		for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM} {
			t.Run(with.name+", "+s.String(), func(t *testing.T) {
				t.Parallel()
				m := deadMount(t)
				for _, r := range blockedReaders(t, m, 3, with) {
					r.signal(s)
					if code := r.wait(); code == 0 {
						t.Error("the read succeeded, with nobody to get the bytes from")
					}
				}
				m.idle()
				m.stop()
			})
		}
	}
}

// Programs with handlers of their own for Ctrl-C and SIGTERM end as well while their reads wait.
func TestProgramsThatHandleSignalsEnd(t *testing.T) {
	t.Parallel()
	need(t, "python3", "rsync", "ffprobe", "unzip")
	m := deadMount(t)
	name := m.path(strings.TrimSuffix(tool("ls", m.dir).run(t), "\n"))
	for _, c := range []command{
		tool("python3", "-c", "import sys; open(sys.argv[1], 'rb').read(10)", name),
		tool("rsync", "-a", name, scratch(t)+"/"),
		tool("ffmpeg", "-nostdin", "-loglevel", "error", "-i", name, "-f", "null", "-"),
		tool("unzip", "-l", name),
		tool("dd", "if="+name, "of=/dev/null", "bs=1M"),
	} {
		for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			c.quiet = true
			p := c.start(t)
			m.blocked(1)
			if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil { // as a terminal does it
				t.Fatal(err)
			}
			if code := p.wait(); code == 0 {
				t.Errorf("%s, %v: it succeeded, with nobody to get the bytes from", p.what, s)
			}
			m.idle()
		}
	}
	m.stop()
}

// A signal ends the server while reads wait: they fail, the mount goes away,
// and the exit code says that all is well.
func TestSignalEndsServerWithBlockedReads(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			if signal.Ignored(s) {
				t.Skip("the signal is ignored here, as hangups are below nohup, and what starts here obeys that")
			}
			m := deadMount(t)
			readers := blockedReaders(t, m, 5, streaming)
			m.signal(s)
			m.succeed()
			if mounted(t, m.dir) {
				t.Error("still mounted")
			}
			for _, r := range readers {
				if code := r.wait(); code != 1 {
					t.Errorf("a reader ended with %d (%v), want an error of its read", code, r.err)
				}
			}
		})
	}
}

// A mount that a killed process left behind is healed by the next one at the
// same place.
func TestStaleMountIsHealed(t *testing.T) {
	t.Parallel()
	c := makeTree(t, 61).create(t)
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	m := mountTorrent(t, c.torrent, "--no-trackers", "--peer", s.peer())
	readRange(t, filepath.Join(c.root(), "film.bin"), m.path(c.name, "film.bin"), 0, 1000)
	m.signal(syscall.SIGKILL)
	m.wait()
	stale := tool("ls", m.dir).start(t)
	if code := stale.wait(); code == 0 || !strings.Contains(stale.stderr.text(), "not connected") {
		t.Errorf("after kill -9 ls ends with %d: %s", code, stale.stderr.text())
	}
	again := mountAt(t, c.torrent, m.data, m.dir, "--no-trackers", "--peer", s.peer())
	sameTree(t, c.root(), again.path(c.name))
	again.stop()
}

// umount -f takes a stale mount away as well.
func TestUmountRemovesStaleMount(t *testing.T) {
	t.Parallel()
	m := deadMount(t)
	m.signal(syscall.SIGKILL)
	m.wait()
	torrentfs(t, "umount", "-f", m.dir).run(t)
	if mounted(t, m.dir) {
		t.Error("still mounted")
	}
}

// umount ends the process that serves the mount. One that is in use stays.
func TestUmount(t *testing.T) {
	t.Parallel()
	c := makeTree(t, 62).create(t)
	m := coldMount(t, c)
	m.complete()
	user := tool("sleep", "1000")
	user.dir = m.path(c.name)
	held := user.start(t)
	busy := torrentfs(t, "umount", m.dir).start(t)
	if code := busy.wait(); code != 4 || !mounted(t, m.dir) {
		t.Errorf("umount of a mount in use: exit code %d, want 4; mounted: %v", code, mounted(t, m.dir))
	}
	held.signal(syscall.SIGKILL)
	held.wait()
	torrentfs(t, "umount", m.dir).run(t)
	m.succeed()
	if mounted(t, m.dir) {
		t.Error("still mounted")
	}
	none := torrentfs(t, "umount", m.dir).start(t)
	if code := none.wait(); code != 4 {
		t.Errorf("umount of an ordinary directory: exit code %d, want 4", code)
	}
}

// --daemon returns when the mount is ready, and umount ends the daemon.
func TestDaemon(t *testing.T) {
	t.Parallel()
	c := makeTree(t, 63).create(t)
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	dir, data := mountpoint(t), scratch(t)
	p := torrentfs(t, slices.Concat([]string{
		"mount", c.torrent, dir, "--daemon", "--data-dir", data, "--no-trackers", "--peer", s.peer(),
	}, logFlags)...).start(t).succeed()
	t.Cleanup(func() {
		if mounted(t, dir) {
			if err := detach(dir); err != nil {
				t.Error(err)
			}
		}
	})
	pid := p.logged("mounted", nil).number("pid")
	if !mounted(t, dir) {
		t.Fatal("it has returned, and nothing is mounted")
	}
	sameTree(t, c.root(), filepath.Join(dir, c.name))
	torrentfs(t, "umount", dir).run(t)
	eventually(t, "the daemon has ended", func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(state), ") Z ")
	})
}

// A daemon that cannot mount tells why, through the command that started it.
func TestDaemonSaysWhyNot(t *testing.T) {
	t.Parallel()
	c := makeFile(t, 1, 64).create(t)
	p := torrentfs(t, "mount", c.torrent, filepath.Join(scratch(t), "absent"), "--daemon", "--data-dir", scratch(t), "--no-trackers").start(t)
	if code := p.wait(); code != 4 {
		t.Errorf("exit code %d, want 4", code)
	}
	if text := p.stderr.text(); !strings.Contains(text, "absent") {
		t.Errorf("it says %q", text)
	}
}

// Two processes cannot have one data directory: the second says so in one line.
func TestSecondProcessOnOneDataDir(t *testing.T) {
	t.Parallel()
	c := makeTree(t, 65).create(t)
	m := mountTorrent(t, c.torrent, "--no-trackers")
	second := torrentfs(t, "mount", c.torrent, mountpoint(t), "--data-dir", m.data, "--no-trackers").start(t)
	if code := second.wait(); code != 5 {
		t.Errorf("exit code %d, want 5", code)
	}
	text := second.stderr.text()
	if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "torrentfs: ") || !strings.Contains(text, m.data) {
		t.Errorf("want one line that names the directory, got:\n%s", text)
	}
	m.stop()
}

// A plain user mounts through fusermount3, and others cannot look in.
func TestPlainUser(t *testing.T) {
	t.Parallel()
	need(t, "fusermount3")
	if env.noFUSE != "" {
		t.Skip("cannot give a plain user the FUSE device: ", env.noFUSE)
	}
	c := makeTree(t, 66).create(t)
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	dir, data, home := mountpoint(t), scratch(t), scratch(t)
	program := command{name: env.binary, env: homeIn(home)}
	as := func(c command) command { return c }
	if os.Geteuid() == 0 {
		const nobody = 65534
		user := &syscall.Credential{Uid: nobody, Gid: nobody}
		as = func(c command) command { c.user = user; return c }
		for _, path := range []string{filepath.Dir(dir), dir, data, home} {
			if err := os.Chown(path, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Dir(c.torrent), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m := startMount(t, as(program), c.torrent, data, dir, "--no-trackers", "--peer", s.peer())
	copied := scratch(t)
	tar := as(tool("tar", "-C", m.dir, "-c", "."))
	archive := filepath.Join(copied, "t.tar")
	if err := os.WriteFile(archive, []byte(tar.run(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	tool("tar", "-C", copied, "-x", "-f", archive, "--no-same-permissions").run(t)
	sameTree(t, c.root(), filepath.Join(copied, c.name))
	if os.Geteuid() == 0 {
		if code := tool("ls", m.dir).start(t).wait(); code == 0 {
			t.Error("root can look into a user's mount")
		}
	}
	program.args = []string{"umount", m.dir}
	as(program).run(t)
	m.succeed()
}

// demo shows a whole swarm, and every step of it works.
func TestDemo(t *testing.T) {
	t.Parallel()
	out := torrentfs(t, "demo", "--size", "8MiB", "--rate", "off").start(t).succeed()
	text := out.stdout.text() + out.stderr.text()
	for _, want := range []string{"torrentfs tracker", "torrentfs create", "torrentfs seed", "torrentfs mount", "unmount", "All of it worked"} {
		if !strings.Contains(text, want) {
			t.Errorf("the demo does not mention %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "✗") {
		t.Errorf("a step failed:\n%s", text)
	}
}

// info --json describes the torrent as the mount shows it.
func TestInfoAgreesWithMount(t *testing.T) {
	t.Parallel()
	c := makeTree(t, 67).create(t, "--hybrid")
	var described struct {
		Files []struct {
			Path   string
			Length int64
		}
	}
	if err := json.Unmarshal([]byte(torrentfs(t, "info", "--json", c.torrent).run(t)), &described); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range described.Files {
		lines = append(lines, fmt.Sprintf("%s %d", f.Path, f.Length))
	}
	slices.Sort(lines)
	m := mountTorrent(t, c.torrent, "--no-trackers")
	find := tool("sh", "-c", `find . -type f -printf '%P %s\n' | sort`)
	find.dir = m.dir
	if got := strings.TrimSpace(find.run(t)); got != strings.Join(lines, "\n") {
		t.Errorf("the mount has\n%s\ninfo says\n%s", got, strings.Join(lines, "\n"))
	}
}
