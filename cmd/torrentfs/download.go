package main

import (
	"context"
	"errors"
	"time"

	"torrentfs/cmd/torrentfs/internal/ui"
)

type downloadCmd struct {
	Torrent string `arg:"" help:"A .torrent file or its URL, a magnet link or an info-hash; - is standard input." complete:"torrent"`
	DataDir string `group:"data" short:"d" aliases:"data-directory" default:"." placeholder:"DIR" complete:"dir" help:"Where to put the data, laid out as the torrent says (default: here)."`

	Place placeFlags `embed:""`

	Seed   bool        `group:"peers" help:"Seed on when everything is here, until a signal."`
	Limits seedLimits  `embed:""`
	Peers  peerFlags   `embed:""`
	Status statusFlags `embed:""`
}

// Validate checks what the types of the flags do not.
func (o downloadCmd) Validate() error { return namesDir(o.DataDir) }

// Help is the text below the summary.
func (downloadCmd) Help() string {
	return `The command ends when everything is here and verified; with --seed it goes on seeding, with --seed-ratio or
--seed-time until that is reached. What another run, or another client, left in the directory is hashed where that is
needed, and kept: interrupt it at any time and run it again.

Files that are there already and have nothing of the torrent are left as they are: the torrent's data then gets another
name beside them, which is said. So it does if its name is hidden (.ssh). With --overwrite it takes the names that it has.`
}

// Run downloads, and seeds if that was asked for.
func (o *downloadCmd) Run(ctx context.Context, a *app) (err error) {
	ref, err := a.refer(o.Torrent)
	if err != nil {
		return err
	}
	s, err := a.openSession(ctx, ref, o.DataDir, o.Peers, o.Status.StatusInterval, o.Place.options("torrentfs download"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := o.download(ctx, s); err != nil {
		return err
	}
	if !o.Seed && !o.Limits.any() {
		return nil
	}
	a.log.Info("seeding", "name", s.meta.Info.Name, "port", s.lib.Port())
	err = s.attended(ctx, o.Status.StatusInterval, func() error { return o.Limits.wait(ctx, s.torrent.Stats) })
	if errors.Is(err, errInterrupted) {
		return nil // the download is done, and that is how seeding ends
	}
	return err
}

// download waits for the last piece behind a progress bar, or status lines in
// the log where nobody watches.
func (o *downloadCmd) download(ctx context.Context, s *session) error {
	started := time.Now()
	if err := s.check(ctx, o.Status.StatusInterval); err != nil {
		return err
	}
	if err := s.hasRoom(); err != nil {
		return err
	}
	if s.app.watched() {
		st := s.torrent.Stats()
		bar := s.app.term.ShowBar(st.Name, st.Total, func() string { return "  " + peersText(s.torrent.Stats()) })
		stop := bar.Follow(func() int64 { return s.torrent.Stats().Verified })
		err := s.completed(ctx)
		stop()
		bar.End()
		if err != nil {
			return err
		}
	} else if err := s.attended(ctx, o.Status.StatusInterval, func() error { return s.completed(ctx) }); err != nil {
		return err
	}
	s.app.logStats("downloaded", s.torrent.Stats(), "data_dir", s.dir, "path", s.torrent.TopPath(), "after", time.Since(started).Round(time.Millisecond).String())
	return nil
}

// hasRoom fails where something is missing and cannot be written.
func (s *session) hasRoom() error {
	err := s.torrent.ReadOnly()
	if st := s.torrent.Stats(); err == nil || st.Complete || s.selects {
		return nil
	}
	return fail(exitDisk, "choose a directory that you may write to with --data-dir", "download %s to %s: %w",
		ui.Printable(s.meta.Info.Name), s.dir, err)
}

// completed waits for the last piece of what is to be downloaded.
func (s *session) completed(ctx context.Context) error {
	select {
	case <-s.torrent.Selected():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
