// Package testdata calls the network in every way that the test knows.
package testdata

import (
	other "net"
	"net/http"

	"golang.org/x/sys/unix"
)

var (
	_ = http.DefaultClient
	_ other.Dialer
	_ = other.DefaultResolver.LookupHost
	_ = http.Client{Timeout: 1}
	_ = &http.Transport{DisableKeepAlives: true}
	_ = http.Client{Transport: &http.Transport{DialContext: nil}}
	_ = unix.Socket
	_ other.Conn
)
