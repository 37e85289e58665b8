package main

import (
	"errors"
	"fmt"
	"syscall"

	"torrentfs/library"
)

// exitCode is what the process tells its caller. The codes are documented in
// the help text and the README; scripts depend on them.
type exitCode int

const (
	exitOK          exitCode = 0
	exitGeneral     exitCode = 1
	exitUsage       exitCode = 2
	exitTorrent     exitCode = 3
	exitMount       exitCode = 4
	exitDisk        exitCode = 5
	exitNetwork     exitCode = 6
	exitVerify      exitCode = 7
	exitInterrupted exitCode = 130
)

// exitCodesHelp is the table below the help text.
const exitCodesHelp = `Exit codes:
    0  done; for mount, seed and tracker also: stopped by a signal
    1  something else went wrong
    2  wrong command line
    3  the torrent cannot be read, or is refused
    4  the mount could not be made or taken away
    5  the data directory or its disk
    6  the network: port in use, host unknown
    7  the data is not what the torrent says
  130  interrupted before the work was done`

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// failure is an error with what the user needs besides it: the exit code for
// scripts and the next step for people.
type failure struct {
	code exitCode
	hint string // what to do; may be empty
	err  error
}

func (f *failure) Error() string {
	if f.hint == "" {
		return f.err.Error()
	}
	return f.err.Error() + " — " + f.hint
}

func (f *failure) Unwrap() error { return f.err }

// fail makes a failure; format is for [fmt.Errorf], "verb noun: cause".
func fail(code exitCode, hint, format string, args ...any) error {
	return &failure{code: code, hint: hint, err: fmt.Errorf(format, args...)}
}

// codeOf finds the exit code that belongs to an error.
func codeOf(err error) exitCode {
	var f *failure
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInterrupted):
		return exitInterrupted // whatever failed because of that
	case errors.As(err, &f):
		return f.code
	}
	return exitGeneral
}

// openFailure tells trouble of the network from trouble of the disk: both come
// out of starting a torrent.
func openFailure(err error) error {
	var listen *library.ListenError
	switch {
	case errors.As(err, &listen):
		return fail(exitNetwork, "choose another --listen-port, or 0 for any free one", "%w", err)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EPERM):
		return fail(exitDisk, "choose a directory that you may write to with --data-dir", "%w", err)
	case errors.Is(err, syscall.ENOTDIR):
		return fail(exitDisk, "name a directory with --data-dir", "%w", err)
	case errors.Is(err, syscall.ENOSPC):
		return fail(exitDisk, "make room on that disk, or choose another with --data-dir", "%w", err)
	}
	return fail(exitDisk, "", "%w", err)
}
