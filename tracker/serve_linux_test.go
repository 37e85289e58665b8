package tracker

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"
)

// A client that asks one of our addresses is answered from it, even if the route has another.
func TestAnswersComeFromTheAddressAsked(t *testing.T) {
	for _, asked := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
		t.Run(asked, func(t *testing.T) {
			pc, err := net.ListenPacket("udp", ":0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- New(Config{}).Serve(ctx, nil, []net.PacketConn{pc}) }()
			defer func() { stop(); <-ended }()
			asker, err := net.Dial("udp", net.JoinHostPort(asked, fmt.Sprint(pc.LocalAddr().(*net.UDPAddr).Port)))
			if err != nil {
				t.Skipf("no such address here: %v", err)
			}
			defer asker.Close()
			_ = asker.SetDeadline(time.Now().Add(20 * time.Second))
			b := binary.BigEndian.AppendUint64(nil, protocolID)
			b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, actionConnect), 7)
			if _, err := asker.Write(b); err != nil {
				t.Fatal(err)
			}
			if n, err := asker.Read(b[:cap(b)]); err != nil || n != 16 {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
}
