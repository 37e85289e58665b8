package tracker_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"torrentfs/tracker"
)

// A tracker serves ports that the caller opens, until its context ends.
func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- tracker.New(tracker.Config{}).Serve(ctx, []net.Listener{listener}, []net.PacketConn{udp})
	}()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + listener.Addr().String() +
		"/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-XX0001-aaaaaaaaaaaa&port=6881&left=0&uploaded=0&downloaded=0&compact=1")
	if err != nil {
		log.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	_ = resp.Body.Close()
	fmt.Printf("%.14s\n", body)

	stop()
	fmt.Println(<-served)
	// Output:
	// d8:completei1e
	// <nil>
}
