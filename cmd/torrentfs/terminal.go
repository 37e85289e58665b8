package main

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

// refreshEvery is how often a live line is redrawn: often enough to look
// alive, seldom enough to cost nothing.
const refreshEvery = 200 * time.Millisecond

// terminal is standard error: log lines, and where a person watches, at most
// one live line below them. Log lines appear above the live line. In the
// background of a shell nothing is drawn: the line would lie over its prompt.
type terminal struct {
	out *os.File
	tty bool
	// foreground reports whether the terminal is ours to draw on.
	foreground func() bool

	mu    sync.Mutex
	shows bool   // there is a live line
	live  string // what it said last
	drawn bool   // it is in sight
}

func newTerminal(out *os.File) *terminal {
	return &terminal{
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

// interactive reports whether a person watches.
func (t *terminal) interactive() bool { return t.tty }

// Write writes whole lines, above the live line if there is one.
func (t *terminal) Write(p []byte) (int, error) {
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

func (t *terminal) printf(format string, args ...any) { fmt.Fprintf(t, format, args...) }

const (
	eraseLine = "\r\x1b[K"
	// A line of wide letters may need more columns than it has letters: its end is cut off, not wrapped.
	wrapOff, wrapOn = "\x1b[?7l", "\x1b[?7h"
)

// erase takes the live line out of sight. The caller holds the lock.
func (t *terminal) erase() {
	if t.drawn && t.foreground() {
		_, _ = t.out.WriteString(eraseLine) // as with all that is drawn: a terminal that is gone is no reason to stop
	}
	t.drawn = false
}

// draw draws the live line afresh. The caller holds the lock.
func (t *terminal) draw() {
	if !t.foreground() {
		t.drawn = false // whoever has the terminal now writes where it was
		return
	}
	_, _ = t.out.WriteString(eraseLine + wrapOff + t.live + wrapOn)
	t.drawn = true
}

// width is how many columns a live line may have: a full line would wrap.
func (t *terminal) width() int {
	width, _, err := term.GetSize(int(t.out.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return width - 1
}

// showLine keeps one line at the bottom of the terminal, drawn afresh by draw,
// which may be called from any goroutine and must not write to the terminal.
// Where nobody watches it does nothing. The returned function takes the line
// away.
func (t *terminal) showLine(draw func() string) (clear func()) {
	if !t.tty {
		return func() {}
	}
	return t.show(func(width int) string { return fit(printable(draw()), width) }, false)
}

// showBar is a progress bar of total bytes, followed by what note says. Its
// [progress] takes the bytes done so far, of which the first are what was done
// before; where nobody watches it does nothing.
func (t *terminal) showBar(label string, total int64, note func() string) *progress {
	pr := &progress{total: total, clear: func() {}}
	if !t.tty {
		return pr
	}
	pr.shown = true
	pr.clear = t.show(func(width int) string {
		return pr.line(fit(printable(label), 32), printable(note()), width)
	}, true)
	return pr
}

// silent is the note of a bar that needs none.
func silent() string { return "" }

// show redraws a line until the returned function is called; that leaves it, as
// it is then, or takes it away.
//
// What the line says is found out without the lock: it may have to wait for
// somebody who is about to log.
func (t *terminal) show(draw func(width int) string, leave bool) func() {
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
		repeat(ctx, refreshEvery, refresh)
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

// progress is a bar on the terminal, or nothing.
type progress struct {
	total int64
	shown bool
	clear func() // ends the bar; may be called twice
	done  atomic.Int64
	meter meter
}

// line is the bar with what is before and after it, in so many columns.
func (p *progress) line(label, note string, width int) string {
	done := min(p.done.Load(), p.total)
	share := 1.0
	if p.total > 0 {
		share = float64(done) / float64(p.total)
	}
	before, after := fmt.Sprintf("%s %5.1f%% ", label, 100*share), " "+p.figures(done, p.total)+note
	const most = 60
	cells := min(most, width-2-utf8.RuneCountInString(before+after))
	if cells < 5 {
		return fit(before+after, width)
	}
	filled := int(share * float64(cells))
	return before + "▕" + strings.Repeat("█", filled) + strings.Repeat(" ", cells-filled) + "▏" + after
}

// figures are how much is done, how fast it goes and how long it will take.
func (p *progress) figures(done, total int64) string {
	text := fmt.Sprintf("%s of %s  %s", formatBytes(done), formatBytes(total), formatRate(p.meter.rate()))
	if left := formatLeft(p.meter.left(total - done)); left != "" {
		text += "  " + left
	}
	return text
}

// set tells how many bytes are done.
func (p *progress) set(done int64) {
	if p.shown {
		p.meter.observe(time.Now(), done)
		p.done.Store(max(done, 0))
	}
}

// follow sets the bar to what done says, again and again, until the returned
// function is called; that sets it a last time.
func (p *progress) follow(done func() int64) (stop func()) {
	if !p.shown {
		return func() {}
	}
	p.set(done())
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(refreshEvery)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				p.set(done())
				return
			case <-ticker.C:
				p.set(done())
			}
		}
	}()
	return func() { close(quit); <-ended }
}

// fit cuts a line to the width of the terminal.
func fit(s string, width int) string {
	runes := []rune(s)
	if len(runes) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	return string(runes[:width-1]) + "…"
}

var _ io.Writer = (*terminal)(nil)
