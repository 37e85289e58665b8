//go:build linux

package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// coldMount is a mount of new content with nothing here yet, and one seed.
func coldMount(t *testing.T, c content, flags ...string) *mount {
	t.Helper()
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	return mountTorrent(t, c.torrent, append(flags, "--no-trackers", "--peer", s.peer())...)
}

// What people run on files works on a mount that has nothing yet.
func TestToolsOnColdMount(t *testing.T) {
	t.Parallel()
	t.Run("cp", func(t *testing.T) {
		t.Parallel()
		c := makeLinkedTree(t, 50).create(t)
		m, copied := coldMount(t, c), scratch(t)
		tool("cp", "-a", m.path(c.name), copied).run(t)
		sameTree(t, c.root(), filepath.Join(copied, c.name))
	})
	t.Run("tar", func(t *testing.T) {
		t.Parallel()
		c := makeLinkedTree(t, 51).create(t)
		m, unpacked := coldMount(t, c), scratch(t)
		tool("sh", "-c", `tar -C "$1" -c --sparse . | tar -C "$2" -x --no-same-permissions`, "sh", m.dir, unpacked).run(t)
		sameTree(t, c.root(), filepath.Join(unpacked, c.name))
	})
	t.Run("md5sum", func(t *testing.T) {
		t.Parallel()
		c := makeTree(t, 52).create(t)
		m := coldMount(t, c)
		sums := tool("sh", "-c", "find . -type f -exec md5sum -- {} +")
		sums.dir = c.root()
		list := filepath.Join(scratch(t), "sums")
		tool("sh", "-c", `printf '%s' "$1" > "$2"`, "sh", sums.run(t), list).run(t)
		check := tool("md5sum", "--check", "--strict", "--quiet", list)
		check.dir = m.path(c.name)
		check.run(t)
	})
	t.Run("grep", func(t *testing.T) {
		t.Parallel()
		c := makeTree(t, 53)
		needle := filepath.Join(c.root(), "needle")
		tool("sh", "-c", `{ head -c 300000 /dev/urandom | base64; echo a needle in the hay; seq 100000; } > "$1"`, "sh", needle).run(t)
		c = c.create(t)
		m := coldMount(t, c)
		found := tool("grep", "-r", "--text", "--files-with-matches", "a needle in the hay", m.dir).run(t)
		if want := m.path(c.name, "needle") + "\n"; found != want {
			t.Errorf("grep found %q, want %q", found, want)
		}
	})
}

// ffprobe jumps about in files: an mp4 has its index at the end.
func TestFfprobeOnColdMount(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg", "ffprobe")
	for _, format := range []string{"mp4", "mkv"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			c := content{dir: scratch(t), name: "film." + format}
			tool("ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=8",
				"-f", "lavfi", "-i", "sine=d=8", "-c:v", "mpeg4", "-b:v", "3M", "-c:a", "aac", c.root()).run(t)
			c = c.create(t)
			m := coldMount(t, c, "--no-prefetch")
			probe := func(name string) string {
				return tool("ffprobe", "-v", "error", "-count_packets", "-of", "json", "-show_streams",
					"-show_entries", "format=nb_streams,format_name,duration,size,bit_rate", name).run(t)
			}
			want, got := probe(c.root()), probe(m.path(c.name))
			if got != want || !strings.Contains(got, `"codec_name": "mpeg4"`) {
				t.Errorf("ffprobe says\n%s\nof the original\n%s", got, want)
			}
			seek := tool("ffmpeg", "-nostdin", "-v", "error", "-ss", "6", "-i", m.path(c.name), "-frames:v", "5", "-f", "framemd5", "-")
			orig := tool("ffmpeg", "-nostdin", "-v", "error", "-ss", "6", "-i", c.root(), "-frames:v", "5", "-f", "framemd5", "-")
			if a, b := orig.run(t), seek.run(t); a != b {
				t.Errorf("other frames after a seek:\n%s\nwant\n%s", b, a)
			}
		})
	}
}

// fio checks what it reads: every block of the file that it wrote says where
// it belongs and has a checksum.
func TestFioOnColdMount(t *testing.T) {
	t.Parallel()
	need(t, "fio")
	const size = 8 << 20
	for _, engine := range []string{"psync", "mmap"} {
		for _, pattern := range []string{"read", "randread"} {
			t.Run(engine+" "+pattern, func(t *testing.T) {
				t.Parallel()
				c := content{dir: scratch(t), name: "fio.bin"}
				home := scratch(t)
				job := func(name, rw string, more ...string) {
					run := tool("fio", append([]string{
						"--name=x", "--filename=" + name, "--rw=" + rw, "--bs=4k", fmt.Sprintf("--size=%d", size),
						"--verify=crc32c", "--verify_fatal=1", "--randseed=7", "--output=" + filepath.Join(home, rw),
					}, more...)...)
					run.dir = home
					run.run(t)
				}
				job(c.root(), "write", "--ioengine=psync", "--do_verify=0", "--verify_state_save=0")
				c = c.create(t)
				m := coldMount(t, c)
				job(m.path(c.name), pattern, "--ioengine="+engine, "--readonly", "--allow_file_create=0",
					"--verify_state_save=0", "--invalidate=0", "--numjobs=2", "--group_reporting")
			})
		}
	}
}

// With --no-prefetch only what is read is fetched, and a little ahead of it.
func TestNoPrefetchFetchesWhatIsRead(t *testing.T) {
	t.Parallel()
	const size = 24 << 20
	c := makeFile(t, size, 54).create(t)
	m := coldMount(t, c, "--no-prefetch")
	for _, off := range []int64{size / 2, 0, size - 64<<10} {
		readRange(t, c.root(), m.path(c.name), off, 64<<10)
	}
	last := m.stop()
	// Three reads of 64 KiB, in whole pieces, with the kernel's read-ahead and
	// ours; a sixth of the file is far more than that.
	const most = size / 6
	if got := last.number("downloaded"); got < 3*64<<10 || got > most {
		t.Errorf("%d bytes were downloaded for 192 KiB read, want at most %d", got, most)
	}
	if got := diskUsage(t, m.data); got > most {
		t.Errorf("the data takes %d bytes on disk, want at most %d", got, most)
	}
}

// Without it the rest comes by itself, though nobody reads.
func TestPrefetchFetchesAll(t *testing.T) {
	t.Parallel()
	c := makeTree(t, 55).create(t)
	m := coldMount(t, c)
	m.complete()
	m.stop()
	torrentfs(t, "verify", c.torrent, "--data-dir", m.data).run(t)
	sameTree(t, c.root(), filepath.Join(m.data, c.name))
}

// The mount is honest about what it is: nothing can be written, and df and
// stat tell the true sizes before anything is here.
func TestMountIsReadOnlyAndHonest(t *testing.T) {
	t.Parallel()
	c := makeTree(t, 56).create(t)
	m := mountTorrent(t, c.torrent, "--no-trackers") // nobody to ask
	if a, b := listing(t, c.root()), listing(t, m.path(c.name)); a != b {
		t.Errorf("the mount lists\n%s\nwant\n%s", b, a)
	}
	for _, line := range []string{
		`: > new`, `: > film.bin`, `echo x >> README`, `mkdir new`, `rm README`, `mv README there`, `ln README there`, `rmdir album/nested`,
	} {
		sh := tool("sh", "-c", line)
		sh.dir = m.path(c.name)
		p := sh.start(t)
		if code := p.wait(); code == 0 || !strings.Contains(p.stderr.text(), "Read-only file system") {
			t.Errorf("%s: exit code %d, %q, want a read-only file system", line, code, p.stderr.text())
		}
	}
}
