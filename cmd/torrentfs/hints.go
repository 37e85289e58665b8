package main

import (
	"errors"
	"io/fs"
	"net"
	"syscall"
)

// fileHint is what to do about a file that cannot be opened or read; what is
// the kind of file that is wanted.
func fileHint(err error, what string) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "check the name"
	case errors.Is(err, fs.ErrPermission):
		return "make it readable for the user who runs this"
	case errors.Is(err, syscall.EISDIR):
		return "name " + what
	case errors.Is(err, syscall.ENOTDIR):
		return "check the name: what it takes for a directory is a file"
	}
	return ""
}

// serverHint is what to do about a server that was not reached.
func serverHint(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "check the name of the host"
	case errors.As(err, &dns):
		return "the name server does not answer: check the network, or name another one with --dns-server"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "check the port, and that the server runs"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "check the network and the address"
	}
	return ""
}

// dataHint is what to do about a data directory that cannot be read.
func dataHint(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "make it readable for the user who runs this, or name another with --data-dir"
	}
	return "name the directory with --data-dir"
}
