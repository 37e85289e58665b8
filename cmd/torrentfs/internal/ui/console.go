package ui

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"torrentfs/internal/safetext"
)

// ConsoleHandler writes log lines for a person at a terminal: the time of day,
// the level, the message, then what belongs to it. The colours are its own: no
// escape sequence in a message, a key or a value gets through.
type ConsoleHandler struct {
	level slog.Leveler
	plain bool   // no colours
	keys  string // "group.": before the keys of attributes to come
	attrs string // already written, each with a space before it

	mu *sync.Mutex // guards w, and is shared by all that derive from one
	w  io.Writer
}

// NewConsoleHandler makes a handler whose lines for w begin at a level; plain leaves out the
// colours.
func NewConsoleHandler(w io.Writer, level slog.Leveler, plain bool) *ConsoleHandler {
	return &ConsoleHandler{level: level, plain: plain, mu: new(sync.Mutex), w: w}
}

// Colours of levels, and of what is less important than the message.
const (
	colourReset = "\x1b[0m"
	colourFaint = "\x1b[2m"
	colourGood  = "\x1b[92m"
	colourWarn  = "\x1b[93m"
	colourBad   = "\x1b[91m"
)

// Enabled implements [slog.Handler].
func (h *ConsoleHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle implements [slog.Handler].
func (h *ConsoleHandler) Handle(_ context.Context, r slog.Record) error {
	var b bytes.Buffer
	if !r.Time.IsZero() {
		b.WriteString(h.painted(colourFaint, r.Time.Format(time.TimeOnly)) + " ")
	}
	switch name := r.Level.String(); {
	case r.Level >= slog.LevelError:
		b.WriteString(h.painted(colourBad, shortLevel(name)))
	case r.Level >= slog.LevelWarn:
		b.WriteString(h.painted(colourWarn, shortLevel(name)))
	case r.Level >= slog.LevelInfo:
		b.WriteString(h.painted(colourGood, shortLevel(name)))
	default:
		b.WriteString(shortLevel(name))
	}
	b.WriteString(" " + safetext.Escape(r.Message) + h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(h.format(h.keys, a))
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.w.Write(b.Bytes())
	return err
}

// shortLevel makes columns of INFO, WARN+1 and the like.
func shortLevel(name string) string {
	return strings.NewReplacer("DEBUG", "DBG", "INFO", "INF", "WARN", "WRN", "ERROR", "ERR").Replace(name)
}

// WithAttrs implements [slog.Handler].
func (h *ConsoleHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.attrs += h.format(h.keys, a)
	}
	return &c
}

// WithGroup implements [slog.Handler].
func (h *ConsoleHandler) WithGroup(name string) slog.Handler {
	c := *h
	if name != "" {
		c.keys += name + "."
	}
	return &c
}

// format is " key=value", or that of all attributes of a group.
func (h *ConsoleHandler) format(keys string, a slog.Attr) string {
	a.Value = a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return ""
	}
	if a.Value.Kind() == slog.KindGroup {
		if a.Key != "" {
			keys += a.Key + "."
		}
		var b strings.Builder
		for _, member := range a.Value.Group() {
			b.WriteString(h.format(keys, member))
		}
		return b.String()
	}
	text := valueText(a.Value)
	if _, bad := a.Value.Any().(error); bad {
		text = h.painted(colourBad, text)
	}
	return " " + h.painted(colourFaint, safetext.Escape(keys+a.Key)+"=") + text
}

// valueText is a value on one line, in quotes where its end could not be seen
// otherwise.
func valueText(v slog.Value) string {
	text := v.String()
	if t, ok := v.Any().(time.Time); ok {
		text = t.Format(time.RFC3339)
	} else if raw, ok := v.Any().([]byte); ok {
		text = string(raw)
	}
	text = safetext.Escape(text)
	if text == "" || strings.ContainsAny(text, " =\"") {
		// Quotes are escaped, and backslashes no further.
		text = `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
	}
	return text
}

func (h *ConsoleHandler) painted(colour, text string) string {
	if h.plain {
		return text
	}
	return colour + text + colourReset
}

// JSONHandler writes log lines for programs.
func JSONHandler(w io.Writer, level slog.Leveler) slog.Handler {
	return slog.NewJSONHandler(safetext.JSONWriter(w), &slog.HandlerOptions{Level: level})
}
