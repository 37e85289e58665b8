package version

import (
	"fmt"
	"testing"
)

// All forms tell the same number.
func TestForms(t *testing.T) {
	var major, minor int
	if _, err := fmt.Sscanf(Number, "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("-TF%d%d00-", major, minor); PeerID != want {
		t.Errorf("peer id %q, want %q", PeerID, want)
	}
	if want := "tf" + string([]byte{byte(major), byte(minor)}); DHT != want {
		t.Errorf("client in the DHT %q, want %q", DHT, want)
	}
	if Client != "torrentfs "+Number || UserAgent != "torrentfs/"+Number {
		t.Errorf("client %q, user agent %q", Client, UserAgent)
	}
	if String() == "" {
		t.Error("no version")
	}
}
