package utp

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Who dials an address of ours that is not the one of the route hears from it, and
// each side knows which of its addresses the other one speaks to.
func TestAnswersComeFromTheAddressDialled(t *testing.T) {
	for _, tt := range []struct{ name, network, listen, dialled string }{
		{"both families", "udp", ":0", "127.0.0.2"},
		{"IPv4", "udp4", "0.0.0.0:0", "127.0.0.2"},
		{"IPv6", "udp6", "[::]:0", "::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pc, err := net.ListenPacket(tt.network, tt.listen)
			if err != nil {
				t.Skipf("no such socket here: %v", err)
			}
			us := New(pc, Config{})
			defer us.Close()
			their, err := net.ListenPacket(tt.network, tt.listen)
			if err != nil {
				t.Fatal(err)
			}
			them := New(their, Config{})
			defer them.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			dialled := netip.AddrPortFrom(netip.MustParseAddr(tt.dialled), us.Addr().(*net.UDPAddr).AddrPort().Port())
			c, err := them.Dial(ctx, dialled)
			if err != nil {
				t.Fatal(err)
			}
			accepted, err := us.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if got := accepted.LocalAddr().String(); got != dialled.String() {
				t.Errorf("they dialled %v, and we say %v", dialled, got)
			}
			if got, want := c.LocalAddr().String(), accepted.RemoteAddr().String(); got != want {
				t.Errorf("we hear from %v, and they say %v", want, got)
			}
			// Enough for pieces of several packets, whose control messages are more.
			sent := make([]byte, 1<<20)
			go func() { _, _ = accepted.Write(sent); _ = accepted.Close() }()
			n := 0
			for buf := make([]byte, 64<<10); ; {
				k, err := c.Read(buf)
				if n += k; err != nil {
					break
				}
			}
			if n != len(sent) {
				t.Errorf("got %d of %d bytes", n, len(sent))
			}
		})
	}
}

// An address of ours that is gone fails the packets that leave from it, and is no
// reason to give up sending several at once.
func TestAddressIsGone(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	d := newDatagrams(pc).(*segmentedConn)
	defer d.close()
	if d.noSegment.Load() {
		t.Skip("no UDP_SEGMENT here")
	}
	sizes := []int{100, 100, 100}
	to := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port())
	if err := d.send(make([]byte, 300), sizes, route{to, netip.MustParseAddr("192.0.2.77")}); err == nil {
		t.Error("sent from an address that is not ours")
	}
	if d.noSegment.Load() {
		t.Error("it was taken for a device that cannot send pieces")
	}
	if err := d.send(make([]byte, 300), sizes, route{to, netip.MustParseAddr("127.0.0.1")}); err != nil {
		t.Error(err)
	}
}
