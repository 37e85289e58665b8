package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"torrentfs/cmd/torrentfs/internal/ui"
	"torrentfs/library"
)

func TestSplitOptions(t *testing.T) {
	tests := []struct {
		in   []string
		want []string
	}{
		{[]string{"ro"}, []string{"ro"}},
		{[]string{"a,b=c", "d"}, []string{"a", "b=c", "d"}},
		{[]string{",,a,,"}, []string{"a"}},
		{[]string{`data_dir=/a\,b,ro`}, []string{"data_dir=/a,b", "ro"}},
		{[]string{`a=\\,b`}, []string{`a=\`, "b"}},
		{[]string{`a=c:\dir`}, []string{`a=c:\dir`}},
		{[]string{""}, nil},
	}
	for _, tt := range tests {
		if got := slices.Concat(splitOptions(tt.in)...); !slices.Equal(got, tt.want) {
			t.Errorf("splitOptions(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestAsMountHelper(t *testing.T) {
	tests := []struct{ in, want string }{
		{"torrentfs mount x.torrent mnt -o ro", "torrentfs mount x.torrent mnt -o ro"},
		{"torrentfs x.torrent mnt -o ro", "torrentfs mount --daemon --fsname=x.torrent x.torrent mnt -o ro"},
		{"torrentfs x.torrent mnt", "torrentfs x.torrent mnt"},
		{"/sbin/mount.torrentfs x.torrent mnt", "torrentfs mount --daemon --fsname=x.torrent x.torrent mnt"},
		{"mount.torrentfs x.torrent mnt -sv -o rw,nofail -t fuse.torrentfs", "torrentfs mount --daemon --fsname=x.torrent x.torrent mnt -o nofail"},
		{"mount.torrentfs x.torrent mnt -n -N 5 -r", "torrentfs mount --daemon --fsname=x.torrent x.torrent mnt"},
		{"mount.torrentfs x.torrent mnt -f", "torrentfs version"},
		{"mount.torrentfs --help", "mount.torrentfs --help"},
		{`torrentfs x mnt -o rw,data_dir=a\,rw,dev,suid,rw`, `torrentfs mount --daemon --fsname=x x mnt -o data_dir=a\,rw,dev,suid`},
		{"torrentfs create dir -o x", "torrentfs create dir -o x"},
		{"torrentfs unmount a -o b", "torrentfs unmount a -o b"},
		{"torrentfs --log-level debug -o x", "torrentfs --log-level debug -o x"},
	}
	for _, tt := range tests {
		if got := strings.Join(asMountHelper(strings.Fields(tt.in)), " "); got != tt.want {
			t.Errorf("asMountHelper(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestStatusLine(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name  string
		stats library.Stats
		want  string
	}{
		{
			"idle and complete",
			library.Stats{Name: "set", Total: 1 << 20, Verified: 1 << 20, Complete: true},
			"100% set  ↓ 0 B/s  ↑ 0 B/s  0 peers  verified 1.0 MiB of 1.0 MiB  uploaded 0 B",
		},
		{
			"almost complete is not complete",
			library.Stats{Name: "set", Total: 1 << 30, Verified: 1<<30 - 1},
			"99.9% set  ↓ 0 B/s  ↑ 0 B/s  0 peers  verified 1024 MiB of 1.0 GiB  uploaded 0 B",
		},
		{
			"readers wait; the oldest is shown",
			library.Stats{
				Name: "set", Total: 4 << 20, Verified: 1 << 20, Peers: 3, Unchoked: 2, Seeds: 1, DownRate: 2 << 20,
				Blocked: []library.BlockedRead{
					{Path: "set/new", Offset: 5, Since: now},
					{Path: "set/old\x1b", Offset: 1 << 20, Since: now.Add(-3500 * time.Millisecond)},
				},
			},
			`25.0% set  reading set/old\x1b at 1.0 MiB, waiting 3s (+1)  ↓ 2.0 MiB/s  ↑ 0 B/s  3 peers (2 sending, 1 seed)  verified 1.0 MiB of 4.0 MiB  uploaded 0 B`,
		},
		{
			"trouble with the disk comes first",
			library.Stats{Name: "set", Total: 2, Checking: 1, DiskErr: errors.New("no space left")},
			"disk: no space left  0.0% set  checking what is on disk: 0.0% of 1 B at 0 B/s  ↓ 0 B/s  ↑ 0 B/s  0 peers  verified 0 B of 2 B  uploaded 0 B",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := statusLine(tt.stats, new(ui.Hashing), now); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestCodeOf(t *testing.T) {
	inner := fail(exitDisk, "do this", "open: %w", errors.New("full"))
	tests := []struct {
		err  error
		want exitCode
	}{
		{nil, exitOK},
		{errors.New("x"), exitGeneral},
		{inner, exitDisk},
		{errors.Join(nil, inner), exitDisk},
		{errors.Join(inner, errInterrupted), exitInterrupted},
		{fail(exitMount, "", "mount: %w", errInterrupted), exitInterrupted},
	}
	for _, tt := range tests {
		if got := codeOf(tt.err); got != tt.want {
			t.Errorf("codeOf(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
	if got, want := inner.Error(), "open: full — do this"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}
