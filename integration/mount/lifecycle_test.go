//go:build linux

package mount

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

	"torrentfs/integration/harness"
)

// deadMount is a mount whose reads wait for ever: there is no peer.
func deadMount(t *testing.T) *harness.Mount {
	t.Helper()
	return harness.MountTorrent(t, harness.MakeFile(t, 4<<20, 60).Create(t).Torrent, "--no-trackers")
}

// A readingProgram reads a file from an offset on.
type readingProgram struct {
	name string
	read func(name string, off int) harness.Command
}

var (
	// streaming reads on and on, so that the kernel reads ahead for it.
	streaming = readingProgram{"stream", func(name string, off int) harness.Command {
		return harness.Tool("tail", "-c", fmt.Sprintf("+%d", off+1), name)
	}}
	// probing reads a little in the middle: the kernel asks for that page alone.
	probing = readingProgram{"probe", func(name string, off int) harness.Command {
		return harness.Tool("dd", "if="+name, "of=/dev/null", "bs=1000", "count=1", "iflag=skip_bytes", fmt.Sprintf("skip=%d", off))
	}}
)

// blockedReaders starts processes that read different places, and waits until
// all of them wait.
func blockedReaders(t *testing.T, m *harness.Mount, n int, with readingProgram) []*harness.Process {
	t.Helper()
	name := strings.TrimSuffix(harness.Tool("ls", m.Dir).Run(t), "\n")
	readers := make([]*harness.Process, n)
	for i := range readers {
		readers[i] = with.read(m.Path(name), i*300_000).Start(t)
	}
	m.Blocked(int64(n))
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
					r.Signal(s)
					if code := r.Wait(); code == 0 {
						t.Error("the read succeeded, with nobody to get the bytes from")
					}
				}
				m.Idle()
				m.Stop()
			})
		}
	}
}

// Programs with handlers of their own for Ctrl-C and SIGTERM end as well while their reads wait.
func TestProgramsThatHandleSignalsEnd(t *testing.T) {
	t.Parallel()
	harness.Need(t, "python3", "rsync", "ffprobe", "unzip")
	m := deadMount(t)
	name := m.Path(strings.TrimSuffix(harness.Tool("ls", m.Dir).Run(t), "\n"))
	for _, c := range []harness.Command{
		harness.Tool("python3", "-c", "import sys; open(sys.argv[1], 'rb').read(10)", name),
		harness.Tool("rsync", "-a", name, harness.Scratch(t)+"/"),
		harness.Tool("ffmpeg", "-nostdin", "-loglevel", "error", "-i", name, "-f", "null", "-"),
		harness.Tool("unzip", "-l", name),
		harness.Tool("dd", "if="+name, "of=/dev/null", "bs=1M"),
	} {
		for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			c.Quiet = true
			p := c.Start(t)
			m.Blocked(1)
			if err := syscall.Kill(-p.Cmd.Process.Pid, s); err != nil { // as a terminal does it
				t.Fatal(err)
			}
			if code := p.Wait(); code == 0 {
				t.Errorf("%s, %v: it succeeded, with nobody to get the bytes from", p.What, s)
			}
			m.Idle()
		}
	}
	m.Stop()
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
			m.Signal(s)
			m.Succeed()
			if harness.Mounted(t, m.Dir) {
				t.Error("still mounted")
			}
			for _, r := range readers {
				if code := r.Wait(); code != 1 {
					t.Errorf("a reader ended with %d (%v), want an error of its read", code, r.Err)
				}
			}
		})
	}
}

// A mount that a killed process left behind is healed by the next one at the
// same place.
func TestStaleMountIsHealed(t *testing.T) {
	t.Parallel()
	c := harness.MakeTree(t, 61).Create(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	m := harness.MountTorrent(t, c.Torrent, "--no-trackers", "--peer", s.Peer())
	harness.ReadRange(t, filepath.Join(c.Root(), "film.bin"), m.Path(c.Name, "film.bin"), 0, 1000)
	m.Signal(syscall.SIGKILL)
	m.Wait()
	stale := harness.Tool("ls", m.Dir).Start(t)
	if code := stale.Wait(); code == 0 || !strings.Contains(stale.Stderr.Text(), "not connected") {
		t.Errorf("after kill -9 ls ends with %d: %s", code, stale.Stderr.Text())
	}
	again := harness.MountAt(t, c.Torrent, m.Data, m.Dir, "--no-trackers", "--peer", s.Peer())
	harness.SameTree(t, c.Root(), again.Path(c.Name))
	again.Stop()
}

// umount -f takes a stale mount away as well.
func TestUmountRemovesStaleMount(t *testing.T) {
	t.Parallel()
	m := deadMount(t)
	m.Signal(syscall.SIGKILL)
	m.Wait()
	harness.Torrentfs(t, "umount", "-f", m.Dir).Run(t)
	if harness.Mounted(t, m.Dir) {
		t.Error("still mounted")
	}
}

// umount ends the process that serves the mount. One that is in use stays.
func TestUmount(t *testing.T) {
	t.Parallel()
	c := harness.MakeTree(t, 62).Create(t)
	m := harness.ColdMount(t, c)
	m.Complete()
	user := harness.Tool("sleep", "1000")
	user.Dir = m.Path(c.Name)
	held := user.Start(t)
	busy := harness.Torrentfs(t, "umount", m.Dir).Start(t)
	if code := busy.Wait(); code != 4 || !harness.Mounted(t, m.Dir) {
		t.Errorf("umount of a mount in use: exit code %d, want 4; mounted: %v", code, harness.Mounted(t, m.Dir))
	}
	held.Signal(syscall.SIGKILL)
	held.Wait()
	harness.Torrentfs(t, "umount", m.Dir).Run(t)
	m.Succeed()
	if harness.Mounted(t, m.Dir) {
		t.Error("still mounted")
	}
	none := harness.Torrentfs(t, "umount", m.Dir).Start(t)
	if code := none.Wait(); code != 4 {
		t.Errorf("umount of an ordinary directory: exit code %d, want 4", code)
	}
}

// --daemon returns when the mount is ready, and umount ends the daemon.
func TestDaemon(t *testing.T) {
	t.Parallel()
	c := harness.MakeTree(t, 63).Create(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	dir, data := harness.Mountpoint(t), harness.Scratch(t)
	p := harness.Torrentfs(t, slices.Concat([]string{
		"mount", c.Torrent, dir, "--daemon", "--data-dir", data, "--no-trackers", "--peer", s.Peer(),
	}, harness.LogFlags)...).Start(t).Succeed()
	t.Cleanup(func() {
		if harness.Mounted(t, dir) {
			if err := harness.Detach(dir); err != nil {
				t.Error(err)
			}
		}
	})
	pid := p.Logged("mounted", nil).Number("pid")
	if !harness.Mounted(t, dir) {
		t.Fatal("it has returned, and nothing is mounted")
	}
	harness.SameTree(t, c.Root(), filepath.Join(dir, c.Name))
	harness.Torrentfs(t, "umount", dir).Run(t)
	harness.Eventually(t, "the daemon has ended", func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(state), ") Z ")
	})
}

// A daemon that cannot mount tells why, through the command that started it.
func TestDaemonSaysWhyNot(t *testing.T) {
	t.Parallel()
	c := harness.MakeFile(t, 1, 64).Create(t)
	p := harness.Torrentfs(t, "mount", c.Torrent, filepath.Join(harness.Scratch(t), "absent"), "--daemon", "--data-dir", harness.Scratch(t), "--no-trackers").Start(t)
	if code := p.Wait(); code != 4 {
		t.Errorf("exit code %d, want 4", code)
	}
	if text := p.Stderr.Text(); !strings.Contains(text, "absent") {
		t.Errorf("it says %q", text)
	}
}

// Two processes cannot have one data directory: the second says so in one line.
func TestSecondProcessOnOneDataDir(t *testing.T) {
	t.Parallel()
	c := harness.MakeTree(t, 65).Create(t)
	m := harness.MountTorrent(t, c.Torrent, "--no-trackers")
	second := harness.Torrentfs(t, "mount", c.Torrent, harness.Mountpoint(t), "--data-dir", m.Data, "--no-trackers").Start(t)
	if code := second.Wait(); code != 5 {
		t.Errorf("exit code %d, want 5", code)
	}
	text := second.Stderr.Text()
	if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "torrentfs: ") || !strings.Contains(text, m.Data) {
		t.Errorf("want one line that names the directory, got:\n%s", text)
	}
	m.Stop()
}

// A plain user mounts through fusermount3, and others cannot look in.
func TestPlainUser(t *testing.T) {
	t.Parallel()
	harness.Need(t, "fusermount3")
	if harness.Env.NoFUSE != "" {
		t.Skip("cannot give a plain user the FUSE device: ", harness.Env.NoFUSE)
	}
	c := harness.MakeTree(t, 66).Create(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	dir, data, home := harness.Mountpoint(t), harness.Scratch(t), harness.Scratch(t)
	program := harness.Command{Name: harness.Env.Binary, Env: harness.HomeIn(home)}
	as := func(c harness.Command) harness.Command { return c }
	if os.Geteuid() == 0 {
		const nobody = 65534
		user := &syscall.Credential{Uid: nobody, Gid: nobody}
		as = func(c harness.Command) harness.Command { c.User = user; return c }
		for _, path := range []string{filepath.Dir(dir), dir, data, home} {
			if err := os.Chown(path, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Dir(c.Torrent), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m := harness.StartMount(t, as(program), c.Torrent, data, dir, "--no-trackers", "--peer", s.Peer())
	copied := harness.Scratch(t)
	tar := as(harness.Tool("tar", "-C", m.Dir, "-c", "."))
	archive := filepath.Join(copied, "t.tar")
	if err := os.WriteFile(archive, []byte(tar.Run(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	harness.Tool("tar", "-C", copied, "-x", "-f", archive, "--no-same-permissions").Run(t)
	harness.SameTree(t, c.Root(), filepath.Join(copied, c.Name))
	if os.Geteuid() == 0 {
		if code := harness.Tool("ls", m.Dir).Start(t).Wait(); code == 0 {
			t.Error("root can look into a user's mount")
		}
	}
	program.Args = []string{"umount", m.Dir}
	as(program).Run(t)
	m.Succeed()
}

// demo shows a whole swarm, and every step of it works.
func TestDemo(t *testing.T) {
	t.Parallel()
	out := harness.Torrentfs(t, "demo", "--size", "8MiB", "--rate", "off").Start(t).Succeed()
	text := out.Stdout.Text() + out.Stderr.Text()
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
	c := harness.MakeTree(t, 67).Create(t, "--hybrid")
	var described struct {
		Files []struct {
			Path   string
			Length int64
		}
	}
	if err := json.Unmarshal([]byte(harness.Torrentfs(t, "info", "--json", c.Torrent).Run(t)), &described); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range described.Files {
		lines = append(lines, fmt.Sprintf("%s %d", f.Path, f.Length))
	}
	slices.Sort(lines)
	m := harness.MountTorrent(t, c.Torrent, "--no-trackers")
	find := harness.Tool("sh", "-c", `find . -type f -printf '%P %s\n' | sort`)
	find.Dir = m.Dir
	if got := strings.TrimSpace(find.Run(t)); got != strings.Join(lines, "\n") {
		t.Errorf("the mount has\n%s\ninfo says\n%s", got, strings.Join(lines, "\n"))
	}
}
