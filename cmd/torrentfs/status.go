package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

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
	var h hashing
	h.see(time.Now(), s.torrent.Stats().Checking)
	repeat(ctx, every, func() {
		st := s.torrent.Stats()
		h.see(time.Now(), st.Checking)
		s.app.logStats("status", st, h.attrs()...)
	})
}

// repeat calls f every so often until ctx ends.
func repeat(ctx context.Context, every time.Duration, f func()) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f()
		}
	}
}

// showLiveLine redraws the status line until ctx ends.
func (s *session) showLiveLine(ctx context.Context) {
	var line atomic.Pointer[string]
	draw := func() string { return *line.Load() }
	var h hashing
	refresh := func() {
		text := statusLine(s.torrent.Stats(), &h, time.Now())
		line.Store(&text)
	}
	refresh()
	clear := s.app.term.showLine(draw)
	defer clear()
	repeat(ctx, refreshEvery, refresh)
}

// statusLine says in one line what the torrent does, the most important first,
// because a narrow terminal cuts the end off. It keeps in h what it saw before of the hashing.
func statusLine(st library.Stats, h *hashing, now time.Time) string {
	h.see(now, st.Checking)
	parts := []string{fmt.Sprintf("%s %s", percent(st.Verified, st.Total), printable(fit(st.Name, 30)))}
	if len(st.Blocked) > 0 {
		parts = append(parts, blockedText(st.Blocked, st.WaitsFor, now))
	}
	if st.Checking > 0 {
		parts = append(parts, h.text())
	}
	parts = append(parts, "↓ "+formatRate(st.DownRate), "↑ "+formatRate(st.UpRate), peersText(st))
	parts = append(parts, fmt.Sprintf("verified %s of %s", formatBytes(st.Verified), formatBytes(st.Total)),
		"uploaded "+formatBytes(st.Uploaded))
	if st.Taken > 0 {
		parts = append(parts, "copied "+formatBytes(st.Taken))
	}
	if st.TrackerTrouble != "" && !st.Complete {
		parts = append(parts, printable(st.TrackerTrouble))
	}
	if st.DiskErr != nil {
		parts = append([]string{"disk: " + printable(st.DiskErr.Error())}, parts...)
	}
	if st.NetworkErr != nil {
		parts = append([]string{printable(st.NetworkErr.Error())}, parts...)
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
	text := fmt.Sprintf("reading %s at %s", printable(oldest.Path), formatBytes(oldest.Offset))
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
	text := plural(st.Peers, "peer")
	if st.Peers > 0 {
		text += fmt.Sprintf(" (%d sending, %s)", st.Unchoked, plural(st.Seeds, "seed"))
	}
	return text
}

// percent is how much of total is done; it says 100 % only when all of it is.
func percent(done, total int64) string {
	if total <= 0 || done >= total {
		return "100%"
	}
	return fmt.Sprintf("%.1f%%", min(99.9, float64(done)/float64(total)*100))
}

// watched reports whether a person reads the log as it comes.
func (a *app) watched() bool { return a.term.interactive() && a.logFile == nil && !a.json }

// logStats writes a snapshot to the log: for a person what counts, in words,
// otherwise every number.
func (a *app) logStats(msg string, st library.Stats, more ...any) {
	if a.watched() {
		a.log.Info(fmt.Sprintf("%s: verified %s of %s, fetched %s, uploaded %s", msg,
			formatBytes(st.Verified), formatBytes(st.Total), formatBytes(st.Downloaded), formatBytes(st.Uploaded)), more...)
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
