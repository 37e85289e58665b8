package dht

import (
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// aria2, which has a DHT node of its own making, joins our network on
// loopback by a magnet link, and announces itself to us.
func TestWithAria2(t *testing.T) {
	program, err := exec.LookPath("aria2c")
	if err != nil || testing.Short() {
		t.Skip("needs aria2c and some seconds")
	}
	nodes := network(t, []string{"127.0.0.90", "127.0.0.91"})
	probe, err := net.Listen("tcp4", "127.0.0.1:0") // for a port that is free
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(probe.Addr().(*net.TCPAddr).Port)
	probe.Close()
	dir := t.TempDir()
	hash := nodeID{0: 0xaa, 19: 0x55}
	cmd := exec.CommandContext(t.Context(), program, "--no-conf", "--enable-dht=true", "--enable-dht6=false",
		"--bt-enable-lpd=false", "--enable-peer-exchange=false", "--interface=127.0.0.1",
		"--dht-entry-point="+nodes[0].addr.String(), "--dht-file-path="+filepath.Join(dir, "dht.dat"), "--dht-message-timeout=2",
		"--dht-listen-port="+strconv.Itoa(int(port)), "--listen-port="+strconv.Itoa(int(port)),
		"--dir="+dir, "magnet:?xt=urn:btih:aa00000000000000000000000000000000000055")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	peer := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	waitFor(t, "aria2 announces itself", func() bool { return stored(nodes, hash, peer) })
	waitFor(t, "aria2 is one of our nodes", func() bool { return !nodes[0].nodes[0].host.lastReply(peer).IsZero() })
}
