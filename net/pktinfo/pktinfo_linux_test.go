package pktinfo

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The system reports where a datagram came to, and an answer leaves from there.
func TestThereAndBack(t *testing.T) {
	for _, tt := range []struct{ network, listen, asked string }{
		{"udp4", "0.0.0.0:0", "127.0.0.1"},
		{"udp4", "0.0.0.0:0", "127.0.0.3"},
		{"udp", ":0", "127.0.0.3"},
		{"udp", ":0", "::1"},
		{"udp6", "[::]:0", "::1"},
	} {
		t.Run(tt.network+" "+tt.asked, func(t *testing.T) {
			pc, err := net.ListenPacket(tt.network, tt.listen)
			if err != nil {
				t.Skipf("no such socket here: %v", err)
			}
			defer pc.Close()
			us := pc.(*net.UDPConn)
			Note(us)
			asked := netip.MustParseAddr(tt.asked)
			asker, err := net.Dial("udp", netip.AddrPortFrom(asked, us.LocalAddr().(*net.UDPAddr).AddrPort().Port()).String())
			if err != nil {
				t.Skipf("no such address here: %v", err)
			}
			defer asker.Close()
			for _, c := range []net.Conn{us, asker} {
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			}
			if _, err := asker.Write([]byte("who is there?")); err != nil {
				t.Fatal(err)
			}
			b, oob := make([]byte, 100), make([]byte, Size)
			_, oobn, flags, from, err := us.ReadMsgUDPAddrPort(b, oob)
			if err != nil || flags&unix.MSG_CTRUNC != 0 {
				t.Fatalf("flags %x, %v", flags, err)
			}
			if got := Arrival(oob[:oobn]); got != asked {
				t.Errorf("came to %v, not %v", got, asked)
			}
			if _, _, err := us.WriteMsgUDPAddrPort([]byte("I"), AppendSource(nil, asked), from); err != nil {
				t.Fatal(err)
			}
			if n, err := asker.Read(b); err != nil || string(b[:n]) != "I" {
				t.Errorf("%q, %v", b[:n], err)
			}
		})
	}
}

// A socket with one address of its own is not asked about it.
func TestBoundSocketTellsNothing(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	us := pc.(*net.UDPConn)
	Note(us)
	if _, err := us.WriteToUDPAddrPort([]byte("x"), us.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	oob := make([]byte, Size)
	_ = us.SetDeadline(time.Now().Add(20 * time.Second))
	if _, n, _, _, err := us.ReadMsgUDPAddrPort(make([]byte, 10), oob); err != nil || n != 0 || Arrival(oob[:n]).IsValid() {
		t.Errorf("%d bytes of control messages, %v", n, err)
	}
}

// What is appended is read back among any other messages; an address that no answer can leave from
// is none.
func TestControlMessages(t *testing.T) {
	for _, tt := range []struct {
		addr  string
		found bool
	}{
		{"192.0.2.1", true},
		{"10.0.0.1", true},
		{"2001:db8::1", true},
		{"::1", true},
		{"::ffff:192.0.2.9", true},
		{"fe80::1", false},
		{"ff02::1", false},
		{"224.0.0.1", false},
		{"0.0.0.0", false},
	} {
		addr := netip.MustParseAddr(tt.addr)
		other := Append(nil, Control{unix.IPPROTO_UDP, unix.UDP_GRO}, []byte{1, 2, 3, 4, 5})
		b := Append(AppendSource(bytes.Clone(other), addr), Control{unix.IPPROTO_UDP, unix.UDP_SEGMENT}, []byte{1, 2})
		want := netip.Addr{}
		if tt.found {
			want = addr.Unmap()
		}
		if got := Arrival(b); got != want {
			t.Errorf("%v is read back as %v", addr, got)
		}
		var kinds []int32
		for c, data, rest, ok := Next(b); ok; c, data, rest, ok = Next(rest) {
			kinds = append(kinds, c.Kind)
			if c.Kind == unix.UDP_GRO && c.Level == unix.IPPROTO_UDP && !bytes.Equal(data, []byte{1, 2, 3, 4, 5}) {
				t.Errorf("%v: data %v", addr, data)
			}
		}
		if len(kinds) != 3 {
			t.Errorf("%v: %d messages", addr, len(kinds))
		}
	}
	if b := AppendSource(nil, netip.Addr{}); len(b) > 0 {
		t.Errorf("no address makes %d bytes", len(b))
	}
}

func FuzzArrival(f *testing.F) {
	f.Add(AppendSource(nil, netip.MustParseAddr("192.0.2.1")))
	f.Add(AppendSource(nil, netip.MustParseAddr("2001:db8::1")))
	f.Add(AppendSource(nil, netip.MustParseAddr("2001:db8::1"))[:30])
	f.Fuzz(func(t *testing.T, oob []byte) {
		ours := Arrival(oob)
		if !ours.IsValid() {
			return
		}
		if again := Arrival(AppendSource(nil, ours)); again != ours {
			t.Errorf("%v is read back as %v", ours, again)
		}
	})
}
