//go:build linux

package mount

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"torrentfs/integration/harness"
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
	torrent, dir := harness.MakeFile(t, 100_000, 66).Create(t).Torrent, harness.Mountpoint(t)
	person, program := openTerminal(t)
	c := exec.Command("sh", "-c", `set -m; "$@" & read line; fg %1`, "sh",
		harness.Env.Binary, "mount", torrent, dir, "--data-dir", harness.Scratch(t), "--no-trackers", "--disable-dht", "--disable-lsd", "--disable-portmap")
	c.Env = append(append(os.Environ(), harness.HomeIn(harness.Scratch(t))...), "TERM=xterm")
	c.Stdin, c.Stdout, c.Stderr = program, program, program
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	program.Close()
	screen := harness.NewOutput()
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
		if harness.Mounted(t, dir) {
			_ = harness.Detach(dir)
		}
	})
	harness.Eventually(t, "it is mounted", func() bool { return strings.Contains(screen.Text(), "mounted") })
	harness.Tool("ls", dir).Run(t)
	if strings.Contains(screen.Text(), "verified") {
		t.Errorf("the background draws: %q", screen.Text())
	}
	if _, err := person.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the foreground draws", func() bool { return strings.Contains(screen.Text(), "verified") })
	if _, err := person.WriteString("\x03"); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	harness.Eventually(t, "it ends", func() bool { return len(ended) > 0 })
	if harness.Mounted(t, dir) {
		t.Error("still mounted")
	}
}
