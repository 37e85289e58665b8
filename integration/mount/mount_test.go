//go:build linux

package mount

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"torrentfs/integration/harness"
)

// What people run on files works on a mount that has nothing yet.
func TestToolsOnColdMount(t *testing.T) {
	t.Parallel()
	t.Run("cp", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeLinkedTree(t, 50).Create(t)
		m, copied := harness.ColdMount(t, c), harness.Scratch(t)
		harness.Tool("cp", "-a", m.Path(c.Name), copied).Run(t)
		harness.SameTree(t, c.Root(), filepath.Join(copied, c.Name))
	})
	t.Run("tar", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeLinkedTree(t, 51).Create(t)
		m, unpacked := harness.ColdMount(t, c), harness.Scratch(t)
		harness.Tool("sh", "-c", `tar -C "$1" -c --sparse . | tar -C "$2" -x --no-same-permissions`, "sh", m.Dir, unpacked).Run(t)
		harness.SameTree(t, c.Root(), filepath.Join(unpacked, c.Name))
	})
	t.Run("md5sum", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeTree(t, 52).Create(t)
		m := harness.ColdMount(t, c)
		sums := harness.Tool("sh", "-c", "find . -type f -exec md5sum -- {} +")
		sums.Dir = c.Root()
		list := filepath.Join(harness.Scratch(t), "sums")
		harness.Tool("sh", "-c", `printf '%s' "$1" > "$2"`, "sh", sums.Run(t), list).Run(t)
		check := harness.Tool("md5sum", "--check", "--strict", "--quiet", list)
		check.Dir = m.Path(c.Name)
		check.Run(t)
	})
	t.Run("grep", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeTree(t, 53)
		needle := filepath.Join(c.Root(), "needle")
		harness.Tool("sh", "-c", `{ head -c 300000 /dev/urandom | base64; echo a needle in the hay; seq 100000; } > "$1"`, "sh", needle).Run(t)
		c = c.Create(t)
		m := harness.ColdMount(t, c)
		found := harness.Tool("grep", "-r", "--text", "--files-with-matches", "a needle in the hay", m.Dir).Run(t)
		if want := m.Path(c.Name, "needle") + "\n"; found != want {
			t.Errorf("grep found %q, want %q", found, want)
		}
	})
}

// ffprobe jumps about in files: an mp4 has its index at the end.
func TestFfprobeOnColdMount(t *testing.T) {
	t.Parallel()
	harness.Need(t, "ffmpeg", "ffprobe")
	for _, format := range []string{"mp4", "mkv"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			c := harness.Content{Dir: harness.Scratch(t), Name: "film." + format}
			harness.Tool("ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=8",
				"-f", "lavfi", "-i", "sine=d=8", "-c:v", "mpeg4", "-b:v", "3M", "-c:a", "aac", c.Root()).Run(t)
			c = c.Create(t)
			m := harness.ColdMount(t, c, "--no-prefetch")
			probe := func(name string) string {
				return harness.Tool("ffprobe", "-v", "error", "-count_packets", "-of", "json", "-show_streams",
					"-show_entries", "format=nb_streams,format_name,duration,size,bit_rate", name).Run(t)
			}
			want, got := probe(c.Root()), probe(m.Path(c.Name))
			if got != want || !strings.Contains(got, `"codec_name": "mpeg4"`) {
				t.Errorf("ffprobe says\n%s\nof the original\n%s", got, want)
			}
			seek := harness.Tool("ffmpeg", "-nostdin", "-v", "error", "-ss", "6", "-i", m.Path(c.Name), "-frames:v", "5", "-f", "framemd5", "-")
			orig := harness.Tool("ffmpeg", "-nostdin", "-v", "error", "-ss", "6", "-i", c.Root(), "-frames:v", "5", "-f", "framemd5", "-")
			if a, b := orig.Run(t), seek.Run(t); a != b {
				t.Errorf("other frames after a seek:\n%s\nwant\n%s", b, a)
			}
		})
	}
}

// fio checks what it reads: every block of the file that it wrote says where
// it belongs and has a checksum.
func TestFioOnColdMount(t *testing.T) {
	t.Parallel()
	harness.Need(t, "fio")
	const size = 8 << 20
	for _, engine := range []string{"psync", "mmap"} {
		for _, pattern := range []string{"read", "randread"} {
			t.Run(engine+" "+pattern, func(t *testing.T) {
				t.Parallel()
				c := harness.Content{Dir: harness.Scratch(t), Name: "fio.bin"}
				home := harness.Scratch(t)
				job := func(name, rw string, more ...string) {
					run := harness.Tool("fio", append([]string{
						"--name=x", "--filename=" + name, "--rw=" + rw, "--bs=4k", fmt.Sprintf("--size=%d", size),
						"--verify=crc32c", "--verify_fatal=1", "--randseed=7", "--output=" + filepath.Join(home, rw),
					}, more...)...)
					run.Dir = home
					run.Run(t)
				}
				job(c.Root(), "write", "--ioengine=psync", "--do_verify=0", "--verify_state_save=0")
				c = c.Create(t)
				m := harness.ColdMount(t, c)
				job(m.Path(c.Name), pattern, "--ioengine="+engine, "--readonly", "--allow_file_create=0",
					"--verify_state_save=0", "--invalidate=0", "--numjobs=2", "--group_reporting")
			})
		}
	}
}

// With --no-prefetch only what is read is fetched, and a little ahead of it.
func TestNoPrefetchFetchesWhatIsRead(t *testing.T) {
	t.Parallel()
	const size = 24 << 20
	c := harness.MakeFile(t, size, 54).Create(t)
	m := harness.ColdMount(t, c, "--no-prefetch")
	for _, off := range []int64{size / 2, 0, size - 64<<10} {
		harness.ReadRange(t, c.Root(), m.Path(c.Name), off, 64<<10)
	}
	last := m.Stop()
	// Three reads of 64 KiB, in whole pieces, with the kernel's read-ahead and
	// ours; a sixth of the file is far more than that.
	const most = size / 6
	if got := last.Number("downloaded"); got < 3*64<<10 || got > most {
		t.Errorf("%d bytes were downloaded for 192 KiB read, want at most %d", got, most)
	}
	if got := harness.DiskUsage(t, m.Data); got > most {
		t.Errorf("the data takes %d bytes on disk, want at most %d", got, most)
	}
}

// Without it the rest comes by itself, though nobody reads.
func TestPrefetchFetchesAll(t *testing.T) {
	t.Parallel()
	c := harness.MakeTree(t, 55).Create(t)
	m := harness.ColdMount(t, c)
	m.Complete()
	m.Stop()
	harness.Torrentfs(t, "verify", c.Torrent, "--data-dir", m.Data).Run(t)
	harness.SameTree(t, c.Root(), filepath.Join(m.Data, c.Name))
}

// The mount is honest about what it is: nothing can be written, and df and
// stat tell the true sizes before anything is here.
func TestMountIsReadOnlyAndHonest(t *testing.T) {
	t.Parallel()
	c := harness.MakeTree(t, 56).Create(t)
	m := harness.MountTorrent(t, c.Torrent, "--no-trackers") // nobody to ask
	if a, b := harness.Listing(t, c.Root()), harness.Listing(t, m.Path(c.Name)); a != b {
		t.Errorf("the mount lists\n%s\nwant\n%s", b, a)
	}
	for _, line := range []string{
		`: > new`, `: > film.bin`, `echo x >> README`, `mkdir new`, `rm README`, `mv README there`, `ln README there`, `rmdir album/nested`,
	} {
		sh := harness.Tool("sh", "-c", line)
		sh.Dir = m.Path(c.Name)
		p := sh.Start(t)
		if code := p.Wait(); code == 0 || !strings.Contains(p.Stderr.Text(), "Read-only file system") {
			t.Errorf("%s: exit code %d, %q, want a read-only file system", line, code, p.Stderr.Text())
		}
	}
}
