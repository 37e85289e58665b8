//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// usage is what a process holds.
type usage struct {
	descriptors, threads int
	memory               int64 // resident, bytes
	children             string
}

func (p *process) usage() (u usage) {
	p.t.Helper()
	proc := fmt.Sprintf("/proc/%d", p.cmd.Process.Pid)
	fds, err := os.ReadDir(proc + "/fd")
	if err != nil {
		p.t.Fatal(err)
	}
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		p.t.Fatal(err)
	}
	u.descriptors = len(fds)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		number := strings.TrimSuffix(strings.TrimSpace(value), " kB")
		switch name {
		case "Threads":
			u.threads, err = strconv.Atoi(number)
		case "VmRSS":
			u.memory, err = strconv.ParseInt(number, 10, 64)
			u.memory <<= 10
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	tasks, _ := filepath.Glob(proc + "/task/*/children")
	for _, name := range tasks {
		text, _ := os.ReadFile(name)
		u.children += string(text)
	}
	return u
}

// A server that has been used hard holds no more than before: descriptors,
// threads, memory, children. The rounds do what leaks are made of: opens,
// reads that end early or by a signal, peers that come and go.
func TestServerKeepsNothing(t *testing.T) {
	t.Parallel()
	c := makeTree(t, 90).create(t)
	m := coldMount(t, c)
	m.complete()
	dead := deadMount(t)
	round := func() {
		reads := tool("sh", "-c", `for i in $(seq 20); do cat "$1"/*/album/* > /dev/null; head -c 1 "$1"/*/film.bin > /dev/null; done; ls -lR "$1" > /dev/null`, "sh", m.dir)
		reads.run(t)
		for range 5 {
			p := torrentfs(t, "download", c.torrent, "--data-dir", scratch(t), "--no-trackers", "--peer", m.peer())
			p.run(t)
		}
		for _, r := range blockedReaders(t, dead, 5, streaming) {
			r.signal(syscall.SIGKILL)
			r.wait()
		}
		dead.idle()
	}
	round() // pools fill, threads start
	round()
	before, deadBefore := m.usage(), dead.usage()
	for range 4 {
		round()
	}
	kept := func(p *process, before usage) func() bool {
		return func() bool {
			now := p.usage()
			return now.descriptors <= before.descriptors && now.threads <= before.threads+4 &&
				now.memory <= before.memory+16<<20 && now.children == ""
		}
	}
	t.Logf("before: %+v, %+v; after: %+v, %+v", before, deadBefore, m.usage(), dead.usage())
	eventually(t, "the server holds no more than before", kept(m.process, before))
	eventually(t, "the server with blocked readers holds no more than before", kept(dead.process, deadBefore))
	m.stop()
	dead.stop()
}
