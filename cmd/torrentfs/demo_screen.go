package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// demoScreen shows the steps of the demo, one line each. On a terminal the
// step under way is there too, and gives way to its outcome.
type demoScreen struct {
	w     io.Writer
	tty   bool
	color bool
}

func newDemoScreen(a *app) *demoScreen {
	s := &demoScreen{w: a.stdout}
	if f, ok := a.stdout.(*os.File); ok {
		s.tty = term.IsTerminal(int(f.Fd()))
	}
	_, plain := os.LookupEnv("NO_COLOR")
	s.color = s.tty && !plain
	return s
}

// demoColumn is the width of the steps' names.
const demoColumn = 36

func (s *demoScreen) title(text string) { fmt.Fprintf(s.w, "\n%s\n\n", s.paint("1", text)) }

func (s *demoScreen) begin(what string) {
	if s.tty {
		fmt.Fprintf(s.w, "  … %s", what)
	}
}

func (s *demoScreen) end(what string, took time.Duration, result string, err error) {
	if s.tty {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
	mark := s.paint("32", "✓")
	if err != nil {
		mark, result = s.paint("31", "✗"), firstLine(err.Error())
	}
	fmt.Fprintf(s.w, "  %s %-*s %6.2f s   %s\n", mark, demoColumn, what, took.Seconds(), printable(result))
}

func (s *demoScreen) ending(text string) { fmt.Fprintf(s.w, "\n%s\n\n", s.paint("1", text)) }

func (s *demoScreen) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
