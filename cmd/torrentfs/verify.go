package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"torrentfs/cmd/torrentfs/internal/ui"
	"torrentfs/library"
	"torrentfs/verify"
)

type verifyCmd struct {
	Torrent string       `arg:"" help:"A .torrent file or its URL, or a magnet link or info-hash whose metadata is kept; - is standard input." complete:"torrent"`
	DataDir string       `short:"d" aliases:"data-directory" default:"." placeholder:"DIR" complete:"dir" help:"Where the data lies, laid out as the torrent says (default: here)."`
	JSON    bool         `name:"json" help:"Print one JSON object."`
	Quiet   bool         `short:"q" help:"Print nothing; the exit code tells."`
	Status  statusFlags  `embed:""`
	Network networkFlags `embed:""`
}

// Validate checks what the types of the flags do not.
func (o verifyCmd) Validate() error { return namesDir(o.DataDir) }

// Help is the text below the summary.
func (verifyCmd) Help() string {
	return `Every byte is read and hashed, whatever a resume file says; nothing is written and nobody is asked. The exit code
is 0 if all of it is there and right, and 7 if not. Of a hybrid torrent both the v1 and the v2 hashes are checked.`
}

// Run hashes the data and prints the outcome.
func (o *verifyCmd) Run(ctx context.Context, a *app) error {
	ref, err := a.loadSource(ctx, o.Network, o.Torrent)
	if err != nil {
		return err
	}
	mi, err := knownMetadata(ref)
	if err != nil {
		return err
	}
	bar := a.term.ShowBar("verifying "+mi.Info.Name, mi.Info.Size(), ui.NoNote)
	report := o.reporter(a)
	started := time.Now()
	silence := time.AfterFunc(diskPatience, func() { a.warnOfSilence(o.DataDir, started) })
	r, err := verify.Data(ctx, mi, o.DataDir, verify.Options{Locate: func() []string {
		names, _ := library.Locate(o.DataDir, mi.Info) // what is wrong with the directory is said by the check
		return names
	}, Progress: func(done, total int64) {
		silence.Reset(diskPatience)
		bar.Set(done)
		report(done, total)
	}})
	silence.Stop()
	bar.End()
	switch {
	case errors.Is(err, errInterrupted):
		return err
	case err != nil:
		return fail(exitDisk, dataHint(err), "verify data: %w", err)
	}
	if err := o.print(a, mi.Info.Name, r, time.Since(started)); err != nil {
		return err
	}
	if !r.OK() {
		return fail(exitVerify, "", "verify %s: %d of %d pieces are right, %s",
			ui.Printable(mi.Info.Name), r.Good, r.Pieces, shareRight(r.Verified, r.Total))
	}
	return nil
}

// reporter logs how far the hashing is, now and then, where nobody watches.
func (o *verifyCmd) reporter(a *app) func(done, total int64) {
	every, last := o.Status.StatusInterval, time.Now()
	if a.watched() || o.Quiet || every <= 0 {
		return func(_, _ int64) {}
	}
	var m ui.Meter
	m.Observe(last, 0)
	return func(done, total int64) {
		now := time.Now()
		if now.Sub(last) < every {
			return
		}
		last = now
		m.Observe(now, done)
		a.log.Info("verifying", "done", done, "total", total, "rate", int64(m.Rate()),
			"seconds_left", int64(m.Left(total-done).Seconds())+1)
	}
}

// shareRight says how much of total is right, or where that is nearly all, how
// much is not: of a terabyte with one wrong piece both would read the same.
func shareRight(right, total int64) string {
	switch {
	case right >= total:
		return fmt.Sprintf("all %s right", ui.FormatBytes(total))
	case right == 0:
		return fmt.Sprintf("none of %s right", ui.FormatBytes(total))
	}
	return fmt.Sprintf("%s of %s wrong", ui.FormatBytes(total-right), ui.FormatBytes(total))
}

// warnOfSilence says that the disk has not answered for diskPatience.
func (a *app) warnOfSilence(dir string, started time.Time) {
	since := time.Now().Add(-diskPatience)
	if since.Before(started) {
		since = started
	}
	a.log.Warn("no answer from the disk of the data directory: look at the disk, its cable or the network that it is on",
		"dir", dir, "since", since.Format(time.TimeOnly))
}

// verdict is the object that verify --json prints.
type verdict struct {
	OK       bool        `json:"ok"`
	Pieces   int         `json:"pieces"`
	Good     int         `json:"good_pieces"`
	Total    int64       `json:"total_length"`
	Verified int64       `json:"verified"`
	Faults   []fileFault `json:"faults,omitempty"`
}

type fileFault struct {
	Path     string `json:"path"`
	Length   int64  `json:"length"`
	Verified int64  `json:"verified"`
	Fault    string `json:"fault"`
}

func (o *verifyCmd) print(a *app, name string, r *verify.Report, took time.Duration) error {
	v := verdict{OK: r.OK(), Pieces: r.Pieces, Good: r.Good, Total: r.Total, Verified: r.Verified}
	for _, f := range r.Files {
		if f.Fault != nil {
			v.Faults = append(v.Faults, fileFault{f.Path, f.Length, f.Verified, bareError(f.Fault).Error()})
		}
	}
	switch {
	case o.Quiet:
		return nil
	case o.JSON:
		return printJSON(a.stdout, v)
	}
	var b strings.Builder
	for _, f := range v.Faults {
		fmt.Fprintf(&b, "%s: %s (%s)\n", ui.Printable(f.Path), ui.Printable(f.Fault), shareRight(f.Verified, f.Length))
	}
	if v.OK {
		fmt.Fprintf(&b, "%s: all %s right, %s in %s\n", ui.Printable(name), ui.Plural(v.Pieces, "piece"), ui.FormatBytes(v.Total), took.Round(time.Millisecond))
	}
	_, err := a.stdout.Write([]byte(b.String()))
	return err
}
