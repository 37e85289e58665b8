package ui

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// RefreshEvery is how often a live line is redrawn: often enough to look
// alive, seldom enough to cost nothing.
const RefreshEvery = 200 * time.Millisecond

// Terminal is standard error: log lines, and where a person watches, at most
// one live line below them. Log lines appear above the live line. In the
// background of a shell nothing is drawn: the line would lie over its prompt.
type Terminal struct {
	out *os.File
	tty bool
	// foreground reports whether the terminal is ours to draw on.
	foreground func() bool

	mu    sync.Mutex
	shows bool   // there is a live line
	live  string // what it said last
	drawn bool   // it is in sight
}

// NewTerminal is the terminal of standard error, which out is.
func NewTerminal(out *os.File) *Terminal {
	return &Terminal{
		out: out, tty: term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb",
		foreground: func() bool { return inForeground(out) },
	}
}

// inForeground reports whether our process group may draw on the terminal. One
// that is not our controlling terminal has no shell of ours on it.
func inForeground(tty *os.File) bool {
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// Interactive reports whether a person watches.
func (t *Terminal) Interactive() bool { return t.tty }

// Write writes whole lines, above the live line if there is one.
func (t *Terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.shows {
		return t.out.Write(p)
	}
	t.erase()
	n, err := t.out.Write(p)
	t.draw()
	return n, err
}

// Printf writes as Write does.
func (t *Terminal) Printf(format string, args ...any) { fmt.Fprintf(t, format, args...) }

const (
	eraseLine = "\r\x1b[K"
	// A line of wide letters may need more columns than it has letters: its end is cut off, not wrapped.
	wrapOff, wrapOn = "\x1b[?7l", "\x1b[?7h"
)

// erase takes the live line out of sight. The caller holds the lock.
func (t *Terminal) erase() {
	if t.drawn && t.foreground() {
		_, _ = t.out.WriteString(eraseLine) // as with all that is drawn: a terminal that is gone is no reason to stop
	}
	t.drawn = false
}

// draw draws the live line afresh. The caller holds the lock.
func (t *Terminal) draw() {
	if !t.foreground() {
		t.drawn = false // whoever has the terminal now writes where it was
		return
	}
	_, _ = t.out.WriteString(eraseLine + wrapOff + t.live + wrapOn)
	t.drawn = true
}

// width is how many columns a live line may have: a full line would wrap.
func (t *Terminal) width() int {
	width, _, err := term.GetSize(int(t.out.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return width - 1
}

// ShowLine keeps one line at the bottom of the terminal, drawn afresh by draw,
// which may be called from any goroutine and must not write to the terminal.
// Where nobody watches it does nothing. The returned function takes the line
// away.
func (t *Terminal) ShowLine(draw func() string) (clear func()) {
	if !t.tty {
		return func() {}
	}
	return t.show(func(width int) string { return Fit(Printable(draw()), width) }, false)
}

// ShowBar is a progress bar of total bytes, followed by what note says. Its
// [Progress] takes the bytes done so far, of which the first are what was done
// before; where nobody watches it does nothing.
func (t *Terminal) ShowBar(label string, total int64, note func() string) *Progress {
	pr := &Progress{total: total, end: func() {}}
	if !t.tty {
		return pr
	}
	pr.shown = true
	pr.end = t.show(func(width int) string {
		return pr.line(Fit(Printable(label), 32), Printable(note()), width)
	}, true)
	return pr
}

// NoNote is the note of a bar that needs none.
func NoNote() string { return "" }

// show redraws a line until the returned function is called; that leaves it, as
// it is then, or takes it away.
//
// What the line says is found out without the lock: it may have to wait for
// somebody who is about to log.
func (t *Terminal) show(draw func(width int) string, leave bool) func() {
	refresh := func() {
		text := draw(t.width())
		t.mu.Lock()
		defer t.mu.Unlock()
		t.live, t.shows = text, true
		t.draw()
	}
	refresh()
	ctx, cancel := context.WithCancel(context.Background())
	var ticker sync.WaitGroup
	ticker.Go(func() {
		Repeat(ctx, RefreshEvery, refresh)
	})
	var once sync.Once
	return func() {
		once.Do(func() {
			cancel()
			ticker.Wait()
			refresh()
			t.mu.Lock()
			defer t.mu.Unlock()
			if leave && t.drawn {
				_, _ = t.out.WriteString("\n")
			} else {
				t.erase()
			}
			t.live, t.shows, t.drawn = "", false, false
		})
	}
}

// Progress is a bar on the terminal, or nothing.
type Progress struct {
	total int64
	shown bool
	end   func() // see End
	done  atomic.Int64
	meter Meter
}

// line is the bar with what is before and after it, in so many columns.
func (p *Progress) line(label, note string, width int) string {
	done := min(p.done.Load(), p.total)
	share := 1.0
	if p.total > 0 {
		share = float64(done) / float64(p.total)
	}
	before, after := fmt.Sprintf("%s %5.1f%% ", label, 100*share), " "+p.figures(done, p.total)+note
	const most = 60
	cells := min(most, width-2-utf8.RuneCountInString(before+after))
	if cells < 5 {
		return Fit(before+after, width)
	}
	filled := int(share * float64(cells))
	return before + "▕" + strings.Repeat("█", filled) + strings.Repeat(" ", cells-filled) + "▏" + after
}

// figures are how much is done, how fast it goes and how long it will take.
func (p *Progress) figures(done, total int64) string {
	text := fmt.Sprintf("%s of %s  %s", FormatBytes(done), FormatBytes(total), FormatRate(p.meter.Rate()))
	if left := formatLeft(p.meter.Left(total - done)); left != "" {
		text += "  " + left
	}
	return text
}

// End leaves the bar as it is. It may be called twice.
func (p *Progress) End() { p.end() }

// Set tells how many bytes are done.
func (p *Progress) Set(done int64) {
	if p.shown {
		p.meter.Observe(time.Now(), done)
		p.done.Store(max(done, 0))
	}
}

// Follow sets the bar to what done says, again and again, until the returned
// function is called; that sets it a last time.
func (p *Progress) Follow(done func() int64) (stop func()) {
	if !p.shown {
		return func() {}
	}
	p.Set(done())
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(RefreshEvery)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				p.Set(done())
				return
			case <-ticker.C:
				p.Set(done())
			}
		}
	}()
	return func() { close(quit); <-ended }
}

var _ io.Writer = (*Terminal)(nil)

// Repeat calls f every so often until ctx ends.
func Repeat(ctx context.Context, every time.Duration, f func()) {
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
