package ui

import (
	"fmt"
	"math"
	"strings"

	"github.com/dustin/go-humanize"

	"torrentfs/internal/safetext"
)

// ParseSize reads a number of bytes. A lone letter counts in powers of 1024,
// as dd, head and truncate have it; MB is a million and MiB is 1024 × 1024.
func ParseSize(s string) (int64, error) {
	t := strings.TrimSpace(s)
	if n := len(t); n > 1 && strings.ContainsRune("kKmMgGtTpPeE", rune(t[n-1])) {
		t += "iB"
	}
	n, err := humanize.ParseBytes(t)
	if err != nil || n > math.MaxInt64 {
		return 0, fmt.Errorf("parse size %q: want a number of bytes such as 65536, 64K, 64M or 1.5GiB", s)
	}
	return int64(n), nil
}

// FormatBytes writes a number of bytes for people, in powers of 1024.
func FormatBytes(n int64) string {
	if n < 0 {
		return "-" + FormatBytes(-n)
	}
	return humanize.IBytes(uint64(n))
}

// FormatRate writes bytes per second for people.
func FormatRate(perSecond float64) string {
	if perSecond < 1 {
		return "0 B/s"
	}
	return humanize.IBytes(uint64(perSecond)) + "/s"
}

// Percent is how much of total is done; it says 100 % only when all of it is.
func Percent(done, total int64) string {
	if total <= 0 || done >= total {
		return "100%"
	}
	return fmt.Sprintf("%.1f%%", min(99.9, float64(done)/float64(total)*100))
}

// Plural counts things for people: 1 peer, 2 peers.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Printable makes text from strangers safe for one line of a terminal.
func Printable(s string) string { return safetext.Escape(s) }

// OneOf joins words to a choice: a, b or c.
func OneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// Fit cuts a line to the width of the terminal.
func Fit(s string, width int) string {
	runes := []rune(s)
	if len(runes) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	return string(runes[:width-1]) + "…"
}

// FirstLine is a text up to its first line end.
func FirstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
