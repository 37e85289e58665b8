package udpmux

import (
	"fmt"
	"net"
	"testing"
)

// The DHT answers from the address that it was asked at: the asking node accepts it from no other.
// This holds if uTP reads the port, and if it does not.
func TestAnswersComeFromTheAddressAsked(t *testing.T) {
	for _, tt := range []struct {
		network, listen, asked string
	}{{"udp", ":0", "127.0.0.2"}, {"udp4", "0.0.0.0:0", "127.0.0.2"}, {"udp", ":0", "::1"}, {"udp6", "[::]:0", "::1"}} {
		t.Run(tt.network+" "+tt.asked, func(t *testing.T) {
			port := New(listen(t, tt.network, tt.listen))
			defer port.Close()
			port.Serve()
			view := port.IPv4()
			if net.ParseIP(tt.asked).To4() == nil {
				view = port.IPv6()
			}
			asker, err := net.Dial("udp", net.JoinHostPort(tt.asked, fmt.Sprint(port.Number()))) // hears that address alone
			if err != nil {
				t.Skipf("no such address here: %v", err)
			}
			defer asker.Close()
			if _, err := asker.Write([]byte("d1:q4:pinge")); err != nil {
				t.Fatal(err)
			}
			query, from := receive(t, view)
			if query != "d1:q4:pinge" || from.String() != asker.LocalAddr().String() {
				t.Fatalf("%q came from %v", query, from)
			}
			if _, err := view.WriteTo([]byte("d1:re"), from); err != nil {
				t.Fatal(err)
			}
			if reply, _ := receive(t, asker.(net.PacketConn)); reply != "d1:re" {
				t.Errorf("got %q", reply)
			}
		})
	}
}
