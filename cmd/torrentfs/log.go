package main

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

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
	a.log = slog.New(logHandler(w, o, w == io.Writer(a.term) && a.term.interactive()))
	slog.SetDefault(a.log) // for libraries that log by themselves
	return nil
}

func (a *app) openLogFile(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fail(exitDisk, logHint(err), "open log file: %w", err)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fail(exitDisk, logHint(err), "open log file: %w", err)
	}
	a.logFile = f
	return nil
}

// logHandler is the way out of everything that is logged: what strangers said
// leaves it as package safetext has it.
func logHint(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "choose a file that you may write to with --log-file"
	}
	return cmp.Or(fileHint(err, "a file with --log-file"), "choose another file with --log-file")
}

func logHandler(w io.Writer, o logFlags, interactive bool) slog.Handler {
	switch {
	case o.Format == "json":
		return jsonHandler(w, o.Level)
	case interactive:
		_, plain := os.LookupEnv("NO_COLOR")
		return newConsoleHandler(w, o.Level, plain)
	}
	return slog.NewTextHandler(safetext.LineWriter(w), &slog.HandlerOptions{Level: o.Level})
}

func jsonHandler(w io.Writer, level slog.Leveler) slog.Handler {
	return slog.NewJSONHandler(safetext.JSONWriter(w), &slog.HandlerOptions{Level: level})
}
