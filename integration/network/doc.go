// Package network tests the ways to peers: proxies, one interface alone, routers, IPv6, several
// addresses, and networks that come late or change.
package network
