package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/lmittmann/tint"
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
	return nil
}

func (a *app) openLogFile(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fail(exitDisk, "", "open log file: %w", err)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fail(exitDisk, "", "open log file: %w", err)
	}
	a.logFile = f
	return nil
}

func logHandler(w io.Writer, o logFlags, interactive bool) slog.Handler {
	switch {
	case o.Format == "json":
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: o.Level})
	case interactive:
		_, plain := os.LookupEnv("NO_COLOR")
		return tint.NewTextHandler(w, &tint.Options{Level: o.Level, TimeFormat: time.TimeOnly, NoColor: plain})
	}
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: o.Level})
}
