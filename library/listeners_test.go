package library

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
)

// openDoorsFor opens and closes them with the test, and returns what was logged.
func openDoorsFor(t *testing.T, cfg Config) (*listeners, *bytes.Buffer) {
	t.Helper()
	logged := new(bytes.Buffer)
	d, err := openListeners(cfg, slog.New(slog.NewTextHandler(logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.close() })
	return d, logged
}

// Peers, uTP and the DHT share a number, whatever is off.
func TestOneNumberForAll(t *testing.T) {
	for _, tt := range []struct {
		name     string
		cfg      Config
		utp, udp bool
	}{
		{"all", Config{Discovery: Discovery{DHT: true}}, true, true},
		{"no DHT", Config{}, true, true},
		{"no uTP", Config{DisableUTP: true, Discovery: Discovery{DHT: true}}, false, true},
		{"TCP alone", Config{DisableUTP: true}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.ListenAddr = "127.0.0.1:0"
			d, logged := openDoorsFor(t, tt.cfg)
			if (d.utp != nil) != tt.utp || (d.shared != nil) != tt.udp {
				t.Fatalf("uTP %v, UDP %v", d.utp, d.shared)
			}
			if tt.udp && int(d.udpPort()) != d.port() {
				t.Errorf("UDP port %d, TCP port %d", d.udpPort(), d.port())
			}
			if logged.Len() > 0 {
				t.Errorf("logged %s", logged)
			}
		})
	}
}

// Whoever named a port that is taken for UDP alone is told, and keeps TCP.
func TestUDPPortTaken(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	d, logged := openDoorsFor(t, Config{ListenAddr: other.LocalAddr().String(), Discovery: Discovery{DHT: true}})
	if want := other.LocalAddr().(*net.UDPAddr).Port; d.port() != want || int(d.udpPort()) == want || d.udpPort() == 0 || d.utp == nil {
		t.Errorf("TCP %d, UDP %d beside %d", d.port(), d.udpPort(), want)
	}
	if n := strings.Count(logged.String(), "the UDP port is taken"); n != 1 {
		t.Errorf("said %d times: %s", n, logged)
	}
}

// The DHT of a library answers on the port of its peers.
func TestDHTOnThePeersPort(t *testing.T) {
	for _, off := range []bool{false, true} {
		l, err := Open(Config{DataDir: t.TempDir(), ListenAddr: "127.0.0.1:0", DisableUTP: off, Discovery: Discovery{DHT: true, DHTBootstrap: []string{}}})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close(context.Background())
		c, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: l.Port()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		deadline, _ := deadline(t).Deadline()
		_ = c.SetDeadline(deadline)
		if _, err := c.Write([]byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2000)
		n, err := c.Read(b)
		if err != nil || !bytes.Contains(b[:n], []byte("1:t2:aa")) || !bytes.Contains(b[:n], []byte("1:y1:r")) {
			t.Errorf("uTP off %v: ping is answered by %q, %v", off, b[:n], err)
		}
	}
}
