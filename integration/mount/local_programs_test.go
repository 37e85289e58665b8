//go:build linux

package mount

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"torrentfs/integration/harness"
)

// A mounted file behaves like one on the local disk for programs that care how their files behave: those that ask for
// holes, share extents, map files into memory, lock them, or jump about.

// localPrograms are shell scripts that read below $1, may write below $2, and print what must not depend on where $1 is.
var localPrograms = []struct {
	name   string
	needs  []string
	script string
}{
	{"cp --reflink", nil, `cp -r --reflink=auto "$1/holes" "$1/repo.git" "$2" && cd "$2" && find . -type f -exec md5sum {} + | sort`},
	{"cp --sparse", nil, `cp --sparse=always "$1/holes" "$1/archive.zip" "$2" && md5sum <"$2/holes" && md5sum <"$2/archive.zip"`},
	{"tar --sparse", nil, `cd "$1" && tar --sparse -cf - holes text | tar -xf - -C "$2" && cd "$2" && md5sum holes text`},
	{"rsync", []string{"rsync"}, `rsync -rl --checksum "$1/" "$2" && cd "$2" && find . -type f -exec md5sum {} + | sort`},
	{"md5sum", nil, `cd "$1" && find . -type f -exec md5sum {} + | sort`},
	{"ffprobe", []string{"ffprobe"}, `cd "$1" && ffprobe -v error -count_packets -of json -show_streams -show_format film.mp4`},
	{"mpv", []string{"mpv"}, `cd "$1" && mpv --no-config --really-quiet --vo=null --ao=null --start=2 --frames=20 --untimed film.mp4 && echo played`},
	{"mpv, the whole film", []string{"mpv"}, `cd "$1" && mpv --no-config --really-quiet --no-audio --untimed --vo=null --of=framecrc -o="$2/crc" film.mp4 && md5sum <"$2/crc"`},
	{"sqlite3", []string{"sqlite3"}, `sqlite3 -readonly "$1/data.db" 'pragma integrity_check; select count(*), sum(length(b)) from t; select a from t where b like "%77%" order by a limit 5'`},
	{"git", []string{"git"}, `export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
		git --git-dir="$1/repo.git" log --format=%H:%s && git --git-dir="$1/repo.git" fsck --full 2>&1 &&
		git clone -q "$1/repo.git" "$2/clone" && cat "$2/clone/seven" | md5sum`},
	{"unzip", []string{"unzip"}, `unzip -p "$1/archive.zip" '*/middle' | md5sum; unzip -tq "$1/archive.zip" | sed 's/ of .*//'`},
	{"python mmap", []string{"python3"}, `python3 -c '
import hashlib, mmap, sys
with open(sys.argv[1], "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
    print([m[i] for i in range(len(m) - 1, 0, -99991)])
    print(m.find(b"the only needle"), hashlib.md5(m).hexdigest())' "$1/text"`},
	{"fio psync", []string{"fio"}, fioVerify("psync")},
	{"fio mmap", []string{"fio"}, fioVerify("mmap")},
	{"fio io_uring", []string{"fio"}, fioVerify("io_uring")},
}

// fioVerify reads what fio wrote: each block has a checksum and says where it belongs.
func fioVerify(engine string) string {
	return `cd "$2" && fio --name=x --filename="$1/fio.bin" --rw=randread --bs=4k --size=2m --verify=crc32c --verify_fatal=1 ` +
		`--randseed=7 --readonly --allow_file_create=0 --verify_state_save=0 --invalidate=0 --iodepth=8 --ioengine=` + engine +
		` --output=log >&2 && echo verified`
}

// makeWorkshop writes what the programs read.
func makeWorkshop(t testing.TB) harness.Content {
	t.Helper()
	harness.Need(t, "ffmpeg", "fio", "git", "sqlite3", "python3")
	c := harness.Content{Dir: harness.Scratch(t), Name: "workshop"}
	harness.Mkdir(t, c.Root())
	home := harness.Scratch(t)
	make := harness.Tool("sh", "-ec", `
		truncate -s 3M holes; printf 'an island' | dd of=holes bs=1 seek=1500001 conv=notrunc status=none
		head -c 200000 /dev/urandom | base64 >text; echo "here is the only needle" >>text; seq 90000 >>text
		ffmpeg -nostdin -v error -f lavfi -i testsrc2=s=320x180:r=25:d=4 -f lavfi -i sine=d=4 -c:v mpeg4 -b:v 2M -c:a aac film.mp4
		sqlite3 data.db 'create table t(a integer primary key, b text);
			with recursive n(i) as (select 1 union all select i+1 from n where i < 9000) insert into t select i, hex(randomblob(40)) from n;
			create index i on t(b)'
		git init -q "$1/repo" && cd "$1/repo"
		for i in one two three four five six seven; do
			head -c 70000 /dev/urandom >$i && git add $i && git -c user.name=n -c user.email=e@example.org commit -qm "add $i"
		done
		cd - >/dev/null && git clone -q --bare "$1/repo" repo.git && rm -rf repo.git/hooks
		git --git-dir=repo.git update-ref refs/tags/v1 HEAD # a torrent holds no empty directories, and git insists on refs
		python3 -c '
import os, zipfile
with zipfile.ZipFile("archive.zip", "w", zipfile.ZIP_DEFLATED) as z:
    for name in ["first", "middle", "last"]: z.writestr("members/" + name, os.urandom(300000))'
		fio --name=x --filename=fio.bin --rw=randread --rw=write --bs=4k --size=2m --verify=crc32c --do_verify=0 --randseed=7 \
			--verify_state_save=0 --output="$1/log"`, "sh", home)
	make.Dir = c.Root()
	make.Env = harness.HomeIn(home)
	make.Run(t)
	return c.Create(t)
}

// runLocal runs a script over a directory and returns what it prints.
func runLocal(t testing.TB, script, dir string) string {
	t.Helper()
	out, home := harness.Scratch(t), harness.Scratch(t)
	c := harness.Tool("sh", "-c", script, "sh", dir, out)
	c.Env = harness.HomeIn(home)
	return c.Run(t)
}

// Each program gets from a mount what it gets from the original: while most is missing, while all arrives, and once it
// is here.
func TestProgramsOnLocalFile(t *testing.T) {
	t.Parallel()
	c := makeWorkshop(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	mounted := func(t *testing.T, flags ...string) *harness.Mount {
		return harness.MountTorrent(t, c.Torrent, append(flags, "--no-trackers", "--peer", s.Peer())...)
	}
	for _, p := range localPrograms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			harness.Need(t, p.needs...)
			want := runLocal(t, p.script, c.Root())
			if strings.TrimSpace(want) == "" {
				t.Fatal("it says nothing of the original")
			}
			check := func(state string, m *harness.Mount) {
				if got := runLocal(t, p.script, m.Path(c.Name)); got != want {
					t.Errorf("%s: it says\n%s\nof the original\n%s", state, got, want)
				}
			}
			check("incomplete", mounted(t, "--no-prefetch"))
			completing := mounted(t, "--max-download-rate", "4M")
			check("completing", completing)
			completing.Complete()
			check("complete", completing)
		})
	}
}

// mount(8) finds us by the type, and mount -a mounts no line of fstab twice.
func TestMountHelper(t *testing.T) {
	bin := asMountHelper(t) // mount.fuse3 looks for us where the system's programs are
	c := harness.MakeFile(t, 100_000, 60).Create(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	fstab, dir := filepath.Join(harness.Scratch(t), "fstab"), harness.Mountpoint(t)
	line := c.Torrent + " " + dir + " fuse.torrentfs noauto,nofail,x-systemd.automount,no_trackers,data_dir=" + harness.Scratch(t) +
		",peer=" + s.Peer() + " 0 0\n"
	if err := os.WriteFile(fstab, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	home := harness.HomeIn(harness.Scratch(t))
	mount := func(args ...string) {
		t.Helper()
		m := harness.Tool("mount", args...)
		m.Env = home
		m.Run(t)
	}
	umount := func() {
		t.Helper()
		harness.Tool("umount", dir).Run(t)
		harness.Eventually(t, "the process of the mount ends", func() bool { return harness.Tool("pgrep", "-cf", dir).Start(t).Wait() != 0 })
	}
	mount("-T", fstab, dir)
	t.Cleanup(func() {
		if harness.Mounted(t, dir) {
			_ = harness.Detach(dir)
		}
	})
	harness.SameFile(t, c.Root(), filepath.Join(dir, c.Name))
	if source := harness.Tool("findmnt", "-n", "-o", "SOURCE,FSTYPE", dir).Run(t); strings.Join(strings.Fields(source), " ") != c.Torrent+" fuse.torrentfs" {
		t.Errorf("mount table: %q", source)
	}
	if err := os.WriteFile(fstab, []byte(strings.ReplaceAll(line, "noauto,", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	mount("-T", fstab, "-a")
	if points, err := harness.MountsBelow(dir); err != nil || len(points) != 1 {
		t.Errorf("after mount -a: %v, %v", points, err)
	}
	umount()

	// As /sbin/mount.torrentfs, with the switches that mount(8) passes on.
	helper := filepath.Join(bin, "mount.torrentfs")
	harness.Symlink(t, harness.Env.Binary, helper)
	direct := harness.Tool(helper, c.Torrent, dir, "-sv", "-o", "rw,nofail,no_trackers,data_dir="+harness.Scratch(t)+",peer="+s.Peer())
	direct.Env = home
	direct.Run(t)
	harness.SameFile(t, c.Root(), filepath.Join(dir, c.Name))
	umount()
}
