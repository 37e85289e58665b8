package main

import (
	"context"
	"errors"
	"os"
	"time"

	"torrentfs/cmd/torrentfs/internal/ui"
	"torrentfs/library"
)

type seedCmd struct {
	Torrent string `arg:"" help:"A .torrent file or its URL, a magnet link or an info-hash; - is standard input." complete:"torrent"`
	DataDir string `group:"data" short:"d" aliases:"data-directory" default:"." placeholder:"DIR" complete:"dir" help:"Where the data lies, laid out as the torrent says (default: here)."`

	Peers  peerFlags   `embed:""`
	Limits seedLimits  `embed:""`
	Status statusFlags `embed:""`
}

// Validate checks what the types of the flags do not.
func (o seedCmd) Validate() error { return namesDir(o.DataDir) }

// Help is the text below the summary.
func (seedCmd) Help() string {
	return `Data that was not checked before is hashed first, once. What is missing or wrong is not fetched; what is right is
seeded. The command runs until a signal ends it, or a limit that was asked for.`
}

// seedLimits say when seeding is enough.
type seedLimits struct {
	SeedRatio float64       `group:"peers" placeholder:"N" help:"Stop when N times the torrent's size has been uploaded."`
	SeedTime  time.Duration `group:"peers" placeholder:"TIME" help:"Stop after seeding for so long, such as 90m or 24h."`
}

// Validate checks what the types of the flags do not.
func (l seedLimits) Validate() error {
	if l.SeedRatio < 0 || l.SeedTime < 0 {
		return errors.New("--seed-ratio and --seed-time cannot be negative")
	}
	return nil
}

// any reports whether there is a limit at all.
func (l seedLimits) any() bool { return l.SeedRatio > 0 || l.SeedTime > 0 }

// wait returns when a limit is reached, or with the cause of ctx. A limit that
// is reached first ends it.
func (l seedLimits) wait(ctx context.Context, stats func() library.Stats) error {
	var timeUp <-chan time.Time
	if l.SeedTime > 0 {
		timer := time.NewTimer(l.SeedTime)
		defer timer.Stop()
		timeUp = timer.C
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timeUp:
			return nil
		case <-ticker.C:
			if st := stats(); l.SeedRatio > 0 && float64(st.Uploaded) >= l.SeedRatio*float64(st.Total) {
				return nil
			}
		}
	}
}

// Run seeds until a signal or a limit.
func (o *seedCmd) Run(ctx context.Context, a *app) (err error) {
	ref, err := a.refer(o.Torrent)
	if err != nil {
		return err
	}
	if _, err := os.Stat(o.DataDir); err != nil { // it would be made, as for a download
		return fail(exitDisk, "name the directory that holds the data with --data-dir", "seed %s: %w", ui.Printable(o.Torrent), err)
	}
	s, err := a.openSession(ctx, ref, o.DataDir, o.Peers, o.Status.StatusInterval, library.AddOptions{NoPrefetch: true, SeedOnly: true, Purpose: "torrentfs seed"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.check(ctx, o.Status.StatusInterval); err != nil {
		return err
	}
	st := s.torrent.Stats()
	switch {
	case st.Verified == 0 && st.Total > 0:
		return fail(exitVerify, "name the directory that holds "+ui.Printable(s.meta.Info.Name)+" with --data-dir",
			"seed %s: nothing of it lies in %s", s.meta.Info.Name, s.dir)
	case !st.Complete:
		a.log.Warn("the data is not complete, seeding what there is", "verified", st.Verified, "total", st.Total)
	}
	a.log.Info("seeding", "name", s.meta.Info.Name, "verified", st.Verified, "port", s.lib.Port())
	err = s.attended(ctx, o.Status.StatusInterval, func() error { return o.Limits.wait(ctx, s.torrent.Stats) })
	if errors.Is(err, errInterrupted) {
		return nil // that is how seeding ends
	}
	return err
}

// check waits until what was found on disk has been hashed, behind a bar, or
// status lines in the log where nobody watches.
func (s *session) check(ctx context.Context, every time.Duration) error {
	checking := s.torrent.Stats().Checking
	if checking == 0 {
		return s.checked(ctx)
	}
	s.app.log.Info("hashing what is on disk", "bytes", checking)
	if !s.app.watched() {
		return s.attended(ctx, every, func() error { return s.checked(ctx) })
	}
	bar := s.app.term.ShowBar("checking "+s.meta.Info.Name, checking, s.fetchNote)
	defer bar.End()
	defer bar.Follow(func() int64 { return checking - s.torrent.Stats().Checking })()
	return s.checked(ctx)
}

// fetchNote says how fast the missing pieces come meanwhile.
func (s *session) fetchNote() string {
	if rate := s.torrent.Stats().DownRate; rate >= 1 {
		return "  ↓ " + ui.FormatRate(rate)
	}
	return ""
}

func (s *session) checked(ctx context.Context) error {
	switch err := s.torrent.Checked(ctx); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fail(exitDisk, "", "check data in %s: %w", s.dir, err)
	}
	return nil
}

// attended runs work while the status is shown.
func (s *session) attended(ctx context.Context, interval time.Duration, work func() error) error {
	showing, hide := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() { defer close(shown); s.showStatus(showing, interval) }()
	defer func() { hide(); <-shown }()
	return work()
}
