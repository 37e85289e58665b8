package fs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// What fusermount3 says is the error; a helper that says nothing is told by its exit code.
func TestHelperFailure(t *testing.T) {
	for _, tt := range []struct{ script, want string }{
		{"echo 'fusermount3: user has no write access to mountpoint /mnt' >&2; exit 1", "fusermount3: user has no write access to mountpoint /mnt"},
		{"printf 'fusermount3: one\\n\\nfusermount3: two\\n' >&2; exit 1", "fusermount3: one; two"},
		{"exit 3", "fusermount3: exit status 3"},
		{"exit 0", "take the device from fusermount3: none came"},
	} {
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "fusermount3"), []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin)
		_, err := mountByHelper(nil, "/nowhere", &fuse.MountOptions{})
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.script, err, tt.want)
		}
	}
}

// Commas and backslashes of a torrent's name stay in its option.
func TestHelperOptions(t *testing.T) {
	got := helperOptions(&fuse.MountOptions{Options: []string{"ro", "nosuid"}, FsName: `torrent:a,rw\`, Name: "torrentfs", AllowOther: true, MaxWrite: 4096})
	if want := `ro,nosuid,allow_other,fsname=torrent:a\,rw\\,subtype=torrentfs,max_read=4096`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
