package library

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is no torrent is told apart, for callers that tell users what to do.
func TestRefErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name string
		want error
	}{
		{" ", ErrNoName},
		{filepath.Join(dir, "none"), os.ErrNotExist},
		{"file:", ErrFileURL},
		{"file://nas/a.torrent", ErrOtherMachine},
		{write("empty", "\r\n"), ErrEmpty},
		{write("page", "<html>log in first"), ErrWebPage},
	} {
		if ref, err := ParseRef(c.name); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v; want %v", c.name, ref, err, c.want)
		}
	}
	if _, err := (*Network)(nil).Fetch(t.Context(), "http://hush@/"); !errors.Is(err, ErrURL) || strings.Contains(err.Error(), "hush") {
		t.Errorf("no URL: %v", err)
	}
	var ref *RefError
	if _, err := ParseRef(write("other", "PK\x03\x04")); !errors.As(err, &ref) || ref.Name != filepath.Join(dir, "other") {
		t.Errorf("another file: %v", err)
	}
}

// A nil Network is the system's, and Close may be called on it.
func TestNoNetwork(t *testing.T) {
	var n *Network
	if n.Proxied() || n.RelaysUDP() != nil || n.Close() != nil {
		t.Error("a nil network has a proxy")
	}
	if addrs, err := n.LookupPeer(t.Context(), "192.0.2.1", 7); err != nil || len(addrs) != 1 || addrs[0].String() != "192.0.2.1:7" {
		t.Errorf("%v, %v", addrs, err)
	}
}
