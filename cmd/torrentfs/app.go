package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"torrentfs/cmd/torrentfs/internal/ui"
)

// app is one run of the program: where it reads and writes, and how it logs.
// Commands get it as an argument. It belongs to the main goroutine; log and
// term may be used from any.
type app struct {
	args   []string // as started, the program's name first
	stdin  io.Reader
	stdout io.Writer
	term   *ui.Terminal
	log    *slog.Logger
	json   bool // the log is JSON

	logFile *os.File // nil unless --log-file
	ready   *readyPipe

	mountpoint atomic.Pointer[string] // where we mount; nil before that
}

// run parses the command line and runs the command.
func (a *app) run(ctx context.Context) (err error) {
	a.log = slog.New(slog.DiscardHandler)
	a.ready, err = inheritedReadyPipe()
	if err != nil {
		return err
	}
	ctx = a.ready.heed(ctx)
	if err := findHome(); err != nil {
		return err
	}
	a.json = ui.AsksForJSON(a.args[1:])
	c, kctx, err := parse(a.args[1:], a.stdout)
	if helped := (helpShown{}); errors.As(err, &helped) {
		return nil
	}
	if err != nil {
		return usageFailure(err)
	}
	if err := a.openLog(c.Log); err != nil {
		return err
	}
	for _, note := range c.notes {
		a.log.Debug(note)
	}
	if len(c.ignored) > 0 && a.ready == nil { // the parent of a daemon has said it
		a.log.Warn("ignoring unknown mount options", "options", strings.Join(c.ignored, "; "))
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	return kctx.Run(a, kctx.Kong)
}

// finish says what went wrong, if anything did, and turns it into the exit code.
func (a *app) finish(err error) int {
	code := codeOf(err)
	if err != nil {
		a.complain(code, err)
		a.ready.failed(code, err)
	}
	return int(code)
}

// complain writes the one line that an error gets: on standard error, and in
// the log file if there is one.
func (a *app) complain(code exitCode, err error) {
	if a.json {
		slog.New(ui.JSONHandler(a.term, slog.LevelInfo)).Error(err.Error(), "exit_code", int(code))
	} else {
		a.term.Printf("torrentfs: %s\n", ui.Printable(strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
	if a.logFile != nil {
		a.log.Error(err.Error(), "exit_code", int(code))
	}
}

// leaveAtOnce takes away what would be a dead mount when the process ends now.
func (a *app) leaveAtOnce() {
	dir := a.mountpoint.Load()
	if dir == nil {
		return
	}
	if ours, err := isOurMount(*dir); err != nil || !ours {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := unmount(ctx, *dir, true); err != nil {
		a.complain(exitMount, fmt.Errorf("unmount %s: %w", *dir, err))
	}
}

func (a *app) close() {
	if a.logFile != nil {
		_ = a.logFile.Close()
	}
}
