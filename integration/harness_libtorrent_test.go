//go:build linux

package integration

import (
	"encoding/json"
	"slices"
	"testing"
)

// libtorrent is a client of testdata/libtorrent_client.py.
type libtorrent struct {
	*process
	port int
}

// startLibtorrent starts a client that downloads to data and seeds what it finds there.
func startLibtorrent(t testing.TB, torrent, data string, flags ...string) *libtorrent {
	t.Helper()
	port := freePort(t)
	c := command{name: needPython(t), args: slices.Concat([]string{
		"testdata/libtorrent_client.py", torrent, data, "--listen", hostPort(port),
	}, flags), openStdin: true}
	l := &libtorrent{process: c.start(t), port: port}
	if !slices.Contains(flags, "--utp") {
		listens(t, port)
	}
	return l
}

func (c *libtorrent) peer() string { return hostPort(c.port) }

// status waits for a state of the client.
func (c *libtorrent) status(what string, holds func(record) bool) record {
	c.t.Helper()
	var found record
	ok := c.stdout.find(func(line []byte) bool {
		var r record
		if json.Unmarshal(line, &r) != nil || !holds(r) {
			return false
		}
		found = r
		return true
	})
	if !ok {
		c.t.Fatalf("libtorrent: never %s:\n%s%s", what, c.stdout.tail(5), c.stderr.tail(20))
	}
	return found
}

// complete waits until the client has, and has checked, everything.
func (c *libtorrent) complete() record {
	c.t.Helper()
	return c.status("complete", func(r record) bool { return r["seeding"] == true })
}
