package main

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"torrentfs/cmd/torrentfs/internal/ui"
	"torrentfs/internal/safetext"
)

// logFlags are the flags that every command has.
type logFlags struct {
	Format string     `name:"log-format" enum:"text,json" default:"text" placeholder:"FORMAT" group:"log" help:"How log lines and errors look: text or json."`
	Level  slog.Level `name:"log-level" default:"info" placeholder:"LEVEL" group:"log" values:"debug,info,warn,error" help:"Least level that is logged: debug, info, warn or error."`
	File   string     `name:"log-file" placeholder:"FILE" group:"log" complete:"file" help:"Append the log to FILE instead of writing it to standard error."`
}

// openLog sets up the log as the flags say: coloured lines for people, plain
// key=value lines for pipes and files, JSON for programs.
func (a *app) openLog(o logFlags) error {
	var w io.Writer = a.term
	if o.File != "" {
		if err := a.openLogFile(o.File); err != nil {
			return err
		}
		w = a.logFile
	}
	a.json = o.Format == "json"
	a.log = slog.New(logHandler(w, o, w == io.Writer(a.term) && a.term.Interactive()))
	slog.SetDefault(a.log) // for libraries that log by themselves
	return nil
}

func (a *app) openLogFile(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fail(exitDisk, logHint(err), "open log file: %w", err)
	}
	open := func(name string) (*os.File, error) { return os.OpenFile(name, logMode, 0o600) }
	if dir, ok := logDir(); ok && filepath.Dir(name) == dir {
		open = openOwnLog
	}
	f, err := open(name)
	if err != nil {
		return fail(exitDisk, logHint(err), "open log file: %w", err)
	}
	a.logFile = f
	return nil
}

const logMode = os.O_CREATE | os.O_WRONLY | os.O_APPEND

// openOwnLog opens a log in our own directory, whose name nobody chose: what
// lies there already may have been planted. It follows no link, writes to no
// file that has a second name, and nobody else can read it.
func openOwnLog(name string) (*os.File, error) {
	dir, err := unix.Open(filepath.Dir(name), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, ownLogError(filepath.Dir(name), err)
	}
	defer unix.Close(dir) //nolint:errcheck // only read from
	fd, err := unix.Openat(dir, filepath.Base(name), logMode|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, ownLogError(name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && (st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1) {
		err = errPlanted
	}
	if err == nil {
		err = f.Chmod(0o600)
	}
	if err != nil {
		return nil, errors.Join(ownLogError(name, err), f.Close())
	}
	return f, nil
}

var errPlanted = errors.New("it is a link, or no regular file (remove it)")

func ownLogError(name string, err error) error {
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		err = errPlanted
	}
	return &os.PathError{Op: "open", Path: name, Err: err}
}

func logHint(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "choose a file that you may write to with --log-file"
	}
	return cmp.Or(fileHint(err, "a file with --log-file"), "choose another file with --log-file")
}

// logHandler is the way out of everything that is logged: what strangers said
// leaves it as package safetext has it.
func logHandler(w io.Writer, o logFlags, interactive bool) slog.Handler {
	switch {
	case o.Format == "json":
		return ui.JSONHandler(w, o.Level)
	case interactive:
		_, plain := os.LookupEnv("NO_COLOR")
		return ui.NewConsoleHandler(w, o.Level, plain)
	}
	return slog.NewTextHandler(safetext.LineWriter(w), &slog.HandlerOptions{Level: o.Level})
}
