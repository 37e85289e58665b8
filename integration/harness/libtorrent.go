//go:build linux

package harness

import (
	"encoding/json"
	"slices"
	"testing"
)

// Libtorrent is a client of testdata/libtorrent_client.py.
type Libtorrent struct {
	*Process
	port int
}

// StartLibtorrent starts a client that downloads to data and seeds what it finds there.
func StartLibtorrent(t testing.TB, torrent, data string, flags ...string) *Libtorrent {
	t.Helper()
	port := FreePort(t)
	c := Command{Name: NeedPython(t), Args: slices.Concat([]string{
		TestData("libtorrent_client.py"), torrent, data, "--listen", HostPort(port),
	}, flags), OpenStdin: true}
	l := &Libtorrent{Process: c.Start(t), port: port}
	if !slices.Contains(flags, "--utp") {
		Listens(t, port)
	}
	return l
}

func (c *Libtorrent) Peer() string { return HostPort(c.port) }

// Status waits for a state of the client.
func (c *Libtorrent) Status(what string, holds func(Record) bool) Record {
	c.T.Helper()
	var found Record
	ok := c.Stdout.find(func(line []byte) bool {
		var r Record
		if json.Unmarshal(line, &r) != nil || !holds(r) {
			return false
		}
		found = r
		return true
	})
	if !ok {
		c.T.Fatalf("libtorrent: never %s:\n%s%s", what, c.Stdout.Tail(5), c.Stderr.Tail(20))
	}
	return found
}

// Complete waits until the client has, and has checked, everything.
func (c *Libtorrent) Complete() Record {
	c.T.Helper()
	return c.Status("complete", func(r Record) bool { return r["seeding"] == true })
}
