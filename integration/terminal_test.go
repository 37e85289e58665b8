//go:build linux

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo terminal: what a person sees and types, and what a program has.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, program
}

// "torrentfs mount … &" draws nothing over the shell's prompt; brought to the foreground, it shows its status.
func TestNoStatusLineInBackground(t *testing.T) {
	t.Parallel()
	torrent, dir := makeFile(t, 100_000, 66).create(t).torrent, mountpoint(t)
	person, program := openTerminal(t)
	c := exec.Command("sh", "-c", `set -m; "$@" & read line; fg %1`, "sh",
		env.binary, "mount", torrent, dir, "--data-dir", scratch(t), "--no-trackers", "--disable-dht", "--disable-lsd", "--disable-portmap")
	c.Env = append(append(os.Environ(), homeIn(scratch(t))...), "TERM=xterm")
	c.Stdin, c.Stdout, c.Stderr = program, program, program
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	program.Close()
	screen := newOutput()
	go func() { // ends with the last program on the terminal
		b := make([]byte, 4096)
		for {
			n, err := person.Read(b)
			_, _ = screen.Write(b[:n])
			if err != nil {
				return
			}
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		if mounted(t, dir) {
			_ = detach(dir)
		}
	})
	eventually(t, "it is mounted", func() bool { return strings.Contains(screen.text(), "mounted") })
	tool("ls", dir).run(t)
	if strings.Contains(screen.text(), "verified") {
		t.Errorf("the background draws: %q", screen.text())
	}
	if _, err := person.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the foreground draws", func() bool { return strings.Contains(screen.text(), "verified") })
	if _, err := person.WriteString("\x03"); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	eventually(t, "it ends", func() bool { return len(ended) > 0 })
	if mounted(t, dir) {
		t.Error("still mounted")
	}
}
