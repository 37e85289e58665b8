package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// refreshEvery is how often a live line is redrawn: often enough to look
// alive, seldom enough to cost nothing.
const refreshEvery = 200 * time.Millisecond

// terminal is standard error: log lines, and where a person watches, at most
// one live line below them. Log lines appear above the live line.
type terminal struct {
	out *os.File
	tty bool

	mu   sync.Mutex
	live *mpb.Progress // guarded by mu
}

func newTerminal(out *os.File) *terminal {
	return &terminal{out: out, tty: term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb"}
}

// interactive reports whether a person watches.
func (t *terminal) interactive() bool { return t.tty }

// Write writes whole lines, above the live line if there is one.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live != nil {
		if n, err := t.live.Write(p); err == nil {
			return n, nil
		}
	}
	return t.out.Write(p)
}

func (t *terminal) printf(format string, args ...any) { fmt.Fprintf(t, format, args...) }

// showLine keeps one line at the bottom of the terminal, drawn afresh by draw,
// which may be called from any goroutine. Where nobody watches it does
// nothing. The returned function takes the line away.
func (t *terminal) showLine(draw func() string) (clear func()) {
	if !t.tty {
		return func() {}
	}
	line := decor.Any(func(s decor.Statistics) string {
		if s.Aborted {
			return ""
		}
		return fit(printable(draw()), s.AvailableWidth)
	})
	p := mpb.New(mpb.WithOutput(t.out), mpb.WithRefreshRate(refreshEvery))
	bar := p.New(0, mpb.NopStyle(), mpb.PrependDecorators(line), mpb.BarFillerTrim())
	return t.attach(p, func() { bar.Abort(true); bar.Wait() })
}

// showBar is a progress bar of total bytes, followed by what note says. Its
// [progress] takes the bytes done so far, of which the first are what was done
// before; where nobody watches it does nothing.
func (t *terminal) showBar(label string, total int64, note func() string) *progress {
	if !t.tty {
		return &progress{clear: func() {}}
	}
	pr := &progress{}
	p := mpb.New(mpb.WithOutput(t.out), mpb.WithRefreshRate(refreshEvery))
	bar := p.New(total,
		mpb.BarStyle().Lbound("▕").Filler("█").Tip("█").Padding(" ").Rbound("▏"),
		mpb.PrependDecorators(
			decor.Name(fit(printable(label), 32)),
			decor.NewPercentage("%.1f", decor.WC{W: 7}),
		),
		mpb.AppendDecorators(
			decor.Any(func(s decor.Statistics) string { return pr.figures(s.Current, s.Total) }),
			decor.Any(func(decor.Statistics) string { return printable(note()) }),
		),
	)
	pr.bar, pr.clear = bar, t.attach(p, func() { bar.Abort(false); bar.Wait() })
	return pr
}

// silent is the note of a bar that needs none.
func silent() string { return "" }

// attach makes p the live part of the terminal until the returned function is
// called; end ends its bars.
func (t *terminal) attach(p *mpb.Progress, end func()) func() {
	t.mu.Lock()
	t.live = p
	t.mu.Unlock()
	var once sync.Once
	return func() {
		once.Do(func() {
			t.mu.Lock()
			t.live = nil
			t.mu.Unlock()
			end()
			p.Wait()
		})
	}
}

// progress is a bar on the terminal, or nothing.
type progress struct {
	bar   *mpb.Bar
	clear func() // ends the bar; may be called twice
	meter meter
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
	if p.bar != nil {
		p.meter.observe(time.Now(), done)
		p.bar.SetCurrent(max(done, 0))
	}
}

// follow sets the bar to what done says, again and again, until the returned
// function is called; that sets it a last time.
func (p *progress) follow(done func() int64) (stop func()) {
	if p.bar == nil {
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
