// Package fakeproxy is a SOCKS5 and HTTP CONNECT proxy for tests: it records what it was asked for,
// connects to where the test directs it, and can be told to refuse, to want a password, to relay
// datagrams, and to end everything.
package fakeproxy
