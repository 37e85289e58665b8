package ui

import (
	"bytes"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestConsoleLines(t *testing.T) {
	for name, tt := range map[string]struct {
		emit  func(*slog.Logger)
		plain bool
		want  string
	}{
		"plain":    {func(l *slog.Logger) { l.Info("mounted", "at", "/mnt/a b", "n", 3, "empty", "") }, true, `INF mounted at="/mnt/a b" n=3 empty=""`},
		"coloured": {func(l *slog.Logger) { l.Info("mounted", "n", 3) }, false, "\x1b[92mINF\x1b[0m mounted \x1b[2mn=\x1b[0m3"},
		"error":    {func(l *slog.Logger) { l.Error("x", "err", errors.New("full")) }, false, "\x1b[91mERR\x1b[0m x \x1b[2merr=\x1b[0m\x1b[91mfull\x1b[0m"},
		"levels":   {func(l *slog.Logger) { l.Log(t.Context(), slog.LevelWarn+1, "x") }, true, "WRN+1 x"},
		"groups": {func(l *slog.Logger) {
			l.With("a", 1).WithGroup("g").With("b", 2).Info("x", "c", 3, slog.Group("h", "d", 4))
		}, true, "INF x a=1 g.b=2 g.c=3 g.h.d=4"},
		"time":  {func(l *slog.Logger) { l.Info("x", "t", time.Unix(0, 0).UTC(), "d", time.Second) }, true, "INF x t=1970-01-01T00:00:00Z d=1s"},
		"quiet": {func(l *slog.Logger) { l.Debug("x") }, true, ""},
	} {
		var b bytes.Buffer
		tt.emit(slog.New(NewConsoleHandler(&b, slog.LevelInfo, tt.plain)))
		got := regexp.MustCompile(`^(\x1b\[2m)?[0-9:]{8}(\x1b\[0m)? `).ReplaceAllString(b.String(), "")
		if strings.TrimSuffix(got, "\n") != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
