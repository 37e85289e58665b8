//go:build linux

package mount

import (
	"syscall"
	"testing"

	"torrentfs/integration/harness"
)

// A server that has been used hard holds no more than before: descriptors,
// threads, memory, children. The rounds do what leaks are made of: opens,
// reads that end early or by a signal, peers that come and go.
func TestServerKeepsNothing(t *testing.T) {
	t.Parallel()
	c := harness.MakeTree(t, 90).Create(t)
	m := harness.ColdMount(t, c)
	m.Complete()
	dead := deadMount(t)
	round := func() {
		reads := harness.Tool("sh", "-c", `for i in $(seq 20); do cat "$1"/*/album/* > /dev/null; head -c 1 "$1"/*/film.bin > /dev/null; done; ls -lR "$1" > /dev/null`, "sh", m.Dir)
		reads.Run(t)
		for range 5 {
			p := harness.Torrentfs(t, "download", c.Torrent, "--data-dir", harness.Scratch(t), "--no-trackers", "--peer", m.Peer())
			p.Run(t)
		}
		for _, r := range blockedReaders(t, dead, 5, streaming) {
			r.Signal(syscall.SIGKILL)
			r.Wait()
		}
		dead.Idle()
	}
	round() // pools fill, threads start
	round()
	before, deadBefore := m.Usage(), dead.Usage()
	for range 4 {
		round()
	}
	kept := func(p *harness.Process, before harness.Usage) func() bool {
		return func() bool {
			now := p.Usage()
			return now.Descriptors <= before.Descriptors && now.Threads <= before.Threads+4 &&
				now.Memory <= before.Memory+16<<20 && now.Children == ""
		}
	}
	t.Logf("before: %+v, %+v; after: %+v, %+v", before, deadBefore, m.Usage(), dead.Usage())
	harness.Eventually(t, "the server holds no more than before", kept(m.Process, before))
	harness.Eventually(t, "the server with blocked readers holds no more than before", kept(dead.Process, deadBefore))
	m.Stop()
	dead.Stop()
}
