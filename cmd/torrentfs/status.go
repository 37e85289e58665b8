package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"torrentfs/cmd/torrentfs/internal/ui"
	"torrentfs/library"
)

// statusFlags say how often a status is logged where nobody watches.
type statusFlags struct {
	StatusInterval time.Duration `group:"log" default:"30s" placeholder:"TIME" help:"How often the status is logged where standard error is no terminal; 0 is never."`
}

// Validate checks what the types of the flags do not.
func (s statusFlags) Validate() error {
	if s.StatusInterval < 0 {
		return fmt.Errorf("--status-interval: want a time above zero, or 0 for never, got %s", s.StatusInterval)
	}
	return nil
}

// showStatus reports how the torrent is doing until ctx ends: as one live line
// where a person watches, in the log otherwise.
func (s *session) showStatus(ctx context.Context, every time.Duration) {
	if s.app.watched() {
		s.showLiveLine(ctx)
		return
	}
	if every <= 0 {
		return
	}
	var h ui.Hashing
	h.See(time.Now(), s.torrent.Stats().Checking)
	ui.Repeat(ctx, every, func() {
		st := s.torrent.Stats()
		h.See(time.Now(), st.Checking)
		s.app.logStats("status", st, h.Attrs()...)
	})
}

// showLiveLine redraws the status line until ctx ends.
func (s *session) showLiveLine(ctx context.Context) {
	var line atomic.Pointer[string]
	draw := func() string { return *line.Load() }
	var h ui.Hashing
	refresh := func() {
		text := statusLine(s.torrent.Stats(), &h, time.Now())
		line.Store(&text)
	}
	refresh()
	clear := s.app.term.ShowLine(draw)
	defer clear()
	ui.Repeat(ctx, ui.RefreshEvery, refresh)
}

// statusLine says in one line what the torrent does, the most important first,
// because a narrow terminal cuts the end off. It keeps in h what it saw before of the hashing.
func statusLine(st library.Stats, h *ui.Hashing, now time.Time) string {
	h.See(now, st.Checking)
	parts := []string{fmt.Sprintf("%s %s", ui.Percent(st.Verified, st.Total), ui.Printable(ui.Fit(st.Name, 30)))}
	if len(st.Blocked) > 0 {
		parts = append(parts, blockedText(st.Blocked, st.WaitsFor, now))
	}
	if st.Checking > 0 {
		parts = append(parts, h.Text())
	}
	parts = append(parts, "↓ "+ui.FormatRate(st.DownRate), "↑ "+ui.FormatRate(st.UpRate), peersText(st))
	parts = append(parts, fmt.Sprintf("verified %s of %s", ui.FormatBytes(st.Verified), ui.FormatBytes(st.Total)),
		"uploaded "+ui.FormatBytes(st.Uploaded))
	if st.Taken > 0 {
		parts = append(parts, "copied "+ui.FormatBytes(st.Taken))
	}
	if st.TrackerTrouble != "" && !st.Complete {
		parts = append(parts, ui.Printable(st.TrackerTrouble))
	}
	if st.DiskErr != nil {
		parts = append([]string{"disk: " + ui.Printable(st.DiskErr.Error())}, parts...)
	}
	if st.NetworkErr != nil {
		parts = append([]string{ui.Printable(st.NetworkErr.Error())}, parts...)
	}
	return strings.Join(parts, "  ")
}

// tellReason is how long a read has waited when people begin to wonder why.
const tellReason = 3 * time.Second

func blockedText(blocked []library.BlockedRead, reason string, now time.Time) string {
	oldest := blocked[0]
	for _, b := range blocked[1:] {
		if b.Since.Before(oldest.Since) {
			oldest = b
		}
	}
	text := fmt.Sprintf("reading %s at %s", ui.Printable(oldest.Path), ui.FormatBytes(oldest.Offset))
	if waited := now.Sub(oldest.Since); waited >= time.Second {
		text += fmt.Sprintf(", waiting %s", waited.Truncate(time.Second))
	}
	if more := len(blocked) - 1; more > 0 {
		text += fmt.Sprintf(" (+%d)", more)
	}
	if waited := now.Sub(oldest.Since); waited >= tellReason && reason != "" {
		text += ": " + reason
	}
	return text
}

func peersText(st library.Stats) string {
	text := ui.Plural(st.Peers, "peer")
	if st.Peers > 0 {
		text += fmt.Sprintf(" (%d sending, %s)", st.Unchoked, ui.Plural(st.Seeds, "seed"))
	}
	return text
}

// watched reports whether a person reads the log as it comes.
func (a *app) watched() bool { return a.term.Interactive() && a.logFile == nil && !a.json }

// logStats writes a snapshot to the log: for a person what counts, in words,
// otherwise every number.
func (a *app) logStats(msg string, st library.Stats, more ...any) {
	if a.watched() {
		a.log.Info(fmt.Sprintf("%s: verified %s of %s, fetched %s, uploaded %s", msg,
			ui.FormatBytes(st.Verified), ui.FormatBytes(st.Total), ui.FormatBytes(st.Downloaded), ui.FormatBytes(st.Uploaded)), more...)
		return
	}
	args := append([]any{
		"verified", st.Verified, "total", st.Total, "peers", st.Peers, "seeds", st.Seeds, "unchoked", st.Unchoked,
		"down_rate", int64(st.DownRate), "up_rate", int64(st.UpRate),
		"downloaded", st.Downloaded, "uploaded", st.Uploaded, "wasted", st.Wasted,
	}, more...)
	if st.Taken > 0 {
		args = append(args, "taken", st.Taken)
	}
	if st.Checking > 0 {
		args = append(args, "checking", st.Checking)
	}
	if len(st.Blocked) > 0 {
		args = append(args, "reads_waiting", len(st.Blocked), "waiting_for", st.WaitsFor)
	}
	if st.DiskErr != nil {
		args = append(args, "disk_err", st.DiskErr)
	}
	if st.NetworkErr != nil {
		args = append(args, "network_err", st.NetworkErr)
	}
	if st.TrackerTrouble != "" {
		args = append(args, "trackers", st.TrackerTrouble)
	}
	a.log.Info(msg, args...)
}
