// Package fakeproxy is a SOCKS5 and HTTP CONNECT proxy for tests: it says what it
// was asked for, connects where the test has it connect, and can be told to
// refuse, to want a password, to relay datagrams, and to end everything.
package fakeproxy
