//go:build linux

package integration

import (
	"os"
	"os/exec"
	"sync"
	"testing"
)

// packages says which Debian package a program comes from.
var packages = map[string]string{
	"aria2c":              "aria2",
	"btfs":                "btfs",
	"ffmpeg":              "ffmpeg",
	"ffprobe":             "ffmpeg",
	"fio":                 "fio",
	"fusermount3":         "fuse3",
	"git":                 "git",
	"iptables":            "iptables",
	"microsocks":          "microsocks",
	"miniupnpd":           "miniupnpd",
	"mount.fuse3":         "fuse3",
	"mpv":                 "mpv",
	"nft":                 "nftables",
	"opentracker":         "opentracker",
	"python3":             "python3",
	"rsync":               "rsync",
	"sqlite3":             "sqlite3",
	"tinyproxy":           "tinyproxy",
	"transmission-daemon": "transmission-daemon",
	"unzip":               "unzip",
}

// need fails the test if one of the programs is not installed.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, program, packages[program])
		}
	}
}

// missing ends the test: a failure, because a test that nobody notices to be
// left out protects nobody, unless that was asked for.
func missing(t testing.TB, program, debianPackage string) {
	t.Helper()
	const format = "%s is not installed: apt-get install %s"
	if os.Getenv("TORRENTFS_SKIP_PROGRAMS") == "1" {
		t.Skipf(format, program, debianPackage)
	}
	t.Fatalf(format+" (TORRENTFS_SKIP_PROGRAMS=1 skips)", program, debianPackage)
}

// python finds a Python that has libtorrent: the first one in PATH need not
// be Debian's.
var python = sync.OnceValue(func() string {
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import libtorrent").Run() == nil {
			return name
		}
	}
	return ""
})

func needPython(t testing.TB) string {
	t.Helper()
	if python() == "" {
		missing(t, "libtorrent for Python", "python3-libtorrent")
	}
	return python()
}
