package ui

import (
	"fmt"
	"sync"
	"time"
)

// meterSpan is how far back a meter looks for its rate: long enough to be calm,
// short enough that what an earlier start left does not count.
const meterSpan = 10 * time.Second

// Meter tells how fast something gets on. What was done at the first look is
// not counted. It may be used from any goroutine.
type Meter struct {
	mu    sync.Mutex
	marks []mark // of the last meterSpan and the one before, oldest first
}

type mark struct {
	at   time.Time
	done int64
}

// Observe notes that done bytes are done at now. Where that is less than
// before, something was begun anew, and so is the measuring.
func (m *Meter) Observe(now time.Time, done int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.marks); n > 0 && done < m.marks[n-1].done {
		m.marks = m.marks[:0]
	}
	if n := len(m.marks); n > 1 && now.Sub(m.marks[n-2].at) < RefreshEvery {
		m.marks = m.marks[:n-1] // seen often: the newest replaces the one before
	}
	m.marks = append(m.marks, mark{now, done})
	for len(m.marks) > 2 && now.Sub(m.marks[1].at) >= meterSpan {
		m.marks = m.marks[1:]
	}
}

// Rate is in bytes per second; 0 until that is known.
func (m *Meter) Rate() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.marks) < 2 {
		return 0
	}
	first, last := m.marks[0], m.marks[len(m.marks)-1]
	if took := last.at.Sub(first.at); took > 0 {
		return float64(last.done-first.done) / took.Seconds()
	}
	return 0
}

// Left is how long the bytes that are still to be done take at this rate; 0
// where nobody can know.
func (m *Meter) Left(bytes int64) time.Duration {
	const most = 1000 * 24 * time.Hour
	rate := m.Rate()
	if rate < 1 || bytes <= 0 {
		return 0
	}
	return time.Duration(min(float64(bytes)/rate*float64(time.Second), float64(most)))
}

// formatLeft writes a time that is still to be waited, for people; nothing for 0.
func formatLeft(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Minute:
		return fmt.Sprintf("%ds left", int(d.Seconds())+1)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds left", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm left", int(d.Hours()), int(d.Minutes())%60)
}

// Hashing follows the hashing of what was found on disk. More of it may come
// up while it lasts, when another program changes a file.
type Hashing struct {
	Meter
	waiting, total int64 // bytes; owned by who observes
}

// See takes what waits to be hashed now.
func (h *Hashing) See(now time.Time, waiting int64) {
	switch {
	case waiting == 0, h.waiting == 0:
		h.total = waiting
		h.Meter = Meter{}
	case waiting > h.waiting:
		h.total += waiting - h.waiting
	}
	h.waiting = waiting
	h.Observe(now, h.total-waiting)
}

// Text is for the status line, empty when nothing is hashed.
func (h *Hashing) Text() string {
	if h.waiting == 0 {
		return ""
	}
	text := fmt.Sprintf("checking what is on disk: %s of %s at %s",
		Percent(h.total-h.waiting, h.total), FormatBytes(h.total), FormatRate(h.Rate()))
	if left := formatLeft(h.Left(h.waiting)); left != "" {
		text += ", " + left
	}
	return text
}

// Attrs are for the log, none when nothing is hashed.
func (h *Hashing) Attrs() []any {
	if h.waiting == 0 {
		return nil
	}
	attrs := []any{"checking_of", h.total, "check_rate", int64(h.Rate())}
	if left := h.Left(h.waiting); left > 0 {
		attrs = append(attrs, "check_seconds_left", int64(left.Seconds())+1)
	}
	return attrs
}
