package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// poison is what no terminal may get from a stranger: sequences that write the
// clipboard, set the title, clear the screen and ring, C1 controls in two
// spellings, marks that turn the direction, line ends of all kinds, and what
// nobody sees. `\x1b]52` without an escape character is among them for handlers
// that take it for one.
const poison = "\x1b]52;c;cm0gLXJmIH4K\x07\x1b]0;title\x1b\\\x1b[2J\u009b31m\u0085\x7f\u202e\u2066\u2028\u2029\u200b\ufeff\u3164\U000e0041 \\x1b]52;c;eA==\\x07=\""

// ours are the sequences that the program itself writes to a terminal: colours,
// those that redraw a line, and those that hide the cursor or let no line wrap.
var ours = regexp.MustCompile("\x1b\\[(?:[0-9;]*m|[0-9]*[AKJ]|\\?(?:7|25)[lh])")

// harmful finds what a terminal must not get, by rules of its own; -1 if text
// is fine.
func harmful(text string) int {
	for i, r := range text {
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD") ||
			r != '\n' && unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point) {
			return i
		}
	}
	return -1
}

// checkHarmless fails if output holds a character that must not get out.
// onTerminal allows for the program's own sequences.
func checkHarmless(t *testing.T, where, output string, onTerminal bool) {
	t.Helper()
	if onTerminal {
		output = strings.ReplaceAll(ours.ReplaceAllString(output, ""), "\r", "")
	}
	if i := harmful(output); i >= 0 {
		t.Errorf("%s: harmful at byte %d: %q", where, i, output[max(0, i-60):min(len(output), i+60)])
	}
}

type poisoned struct{ Text string }

func (p poisoned) String() string { return "stringer " + p.Text }

type poisonedValuer struct{ text string }

func (p poisonedValuer) LogValue() slog.Value {
	return slog.GroupValue(slog.String("inner", p.text), slog.Any("error", errors.New(p.text)))
}

// What is logged of a stranger's words gets to no terminal, file or pipe as it
// was, whatever type it has; JSON keeps it for programs.
func TestLogIsHarmless(t *testing.T) {
	bad := "begin" + poison + "\xff\x9b end"
	emit := func(l *slog.Logger) {
		l = l.With("with", bad).WithGroup("group")
		l.Warn("message "+bad, "string", bad, "err", errors.New(bad), "bytes", []byte(bad), "any", poisoned{bad},
			"pointer", &poisoned{bad}, "slice", []string{bad}, "map", map[string]string{bad: bad}, "valuer", poisonedValuer{bad},
			slog.Group("g", "x", bad), bad, "key", "n", 7, "nil", nil, "at", time.Unix(1e9, 0).UTC(), "none", slog.GroupValue())
	}
	for name, o := range map[string]struct {
		flags       logFlags
		interactive bool
	}{
		"json": {logFlags{Format: "json"}, false}, "text": {logFlags{Format: "text"}, false}, "terminal": {logFlags{Format: "text"}, true},
	} {
		var b bytes.Buffer
		emit(slog.New(logHandler(&b, o.flags, o.interactive)))
		checkHarmless(t, name, b.String(), name == "terminal")
		if n := strings.Count(b.String(), "\n"); n != 1 {
			t.Errorf("%s: %d lines", name, n)
		}
		if n := strings.Count(b.String(), "begin"); n < 10 {
			t.Errorf("%s: the text is there %d times only: %s", name, n, b.String())
		}
		if name != "json" {
			continue
		}
		var rec map[string]any
		if err := json.Unmarshal(b.Bytes(), &rec); err != nil {
			t.Fatal(err)
		}
		if want := strings.ToValidUTF8(bad, "\uFFFD"); strings.ReplaceAll(rec["with"].(string), "\uFFFD\uFFFD", "\uFFFD") != want {
			t.Errorf("a program gets %q, want %q", rec["with"], want)
		}
	}
}
