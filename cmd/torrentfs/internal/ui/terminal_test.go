package ui

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A live line is drawn in the foreground only; log lines are written always, and lie above it.
func TestLiveLineInForegroundOnly(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "tty"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	seen := 0
	fresh := func() string {
		text, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { seen = len(text) }()
		return string(text[seen:])
	}
	synctest.Test(t, func(t *testing.T) {
		foreground := false
		term := &Terminal{out: out, tty: true, foreground: func() bool { return foreground }}
		locked := func(to bool) { term.mu.Lock(); foreground = to; term.mu.Unlock() }
		clear := term.ShowLine(func() string { return "status" })
		time.Sleep(2 * time.Second)
		term.Printf("a log line\n")
		if got := fresh(); got != "a log line\n" {
			t.Errorf("in the background: %q", got)
		}
		locked(true)
		time.Sleep(time.Second)
		synctest.Wait() // what is due now is printed
		term.Printf("another\n")
		const line = "\r\x1b[K\x1b[?7lstatus\x1b[?7h"
		if got := fresh(); !strings.HasPrefix(got, line+line) || !strings.HasSuffix(got, line+"\r\x1b[K"+"another\n"+line) {
			t.Errorf("in the foreground: %q", got)
		}
		locked(false)
		time.Sleep(time.Second)
		clear()
		if got := fresh(); got != "" {
			t.Errorf("in the background again: %q", got)
		}
		term.Printf("the end\n")
		if got := fresh(); got != "the end\n" {
			t.Errorf("after the line: %q", got)
		}
	})
}

func TestProgressLineFits(t *testing.T) {
	for _, c := range []struct {
		done, total int64
		width       int
		want        string
	}{
		{0, 100, 79, "film   0.0% ▕"},
		{50, 100, 79, "film  50.0% ▕███"},
		{100, 100, 79, "film 100.0% ▕███"},
		{200, 100, 79, "film 100.0% ▕███"},
		{0, 0, 79, "film 100.0% ▕███"},
		{50, 100, 30, "film  50.0%  50 B of 100 B"},
		{50, 100, 8, "film  5…"},
		{50, 100, 0, ""},
	} {
		p := &Progress{total: c.total, shown: true}
		p.Set(c.done)
		got := p.line("film", "  1 peer", c.width)
		if !strings.HasPrefix(got, c.want) || len([]rune(got)) > c.width {
			t.Errorf("%d of %d in %d columns: %q", c.done, c.total, c.width, got)
		}
	}
}
