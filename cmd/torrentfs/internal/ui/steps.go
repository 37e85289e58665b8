package ui

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// Steps shows the steps of a demonstration, one line each. On a terminal the
// step under way is there too, and gives way to its outcome.
type Steps struct {
	w     io.Writer
	tty   bool
	color bool
}

// NewSteps shows steps on out, in colours if that is a terminal.
func NewSteps(out io.Writer) *Steps {
	s := &Steps{w: out}
	if f, ok := out.(*os.File); ok {
		s.tty = term.IsTerminal(int(f.Fd()))
	}
	_, plain := os.LookupEnv("NO_COLOR")
	s.color = s.tty && !plain
	return s
}

// stepColumn is the width of the steps' names.
const stepColumn = 36

// Title writes what comes before all steps.
func (s *Steps) Title(text string) { fmt.Fprintf(s.w, "\n%s\n\n", s.paint("1", text)) }

// Begin shows that a step is under way.
func (s *Steps) Begin(what string) {
	if s.tty {
		fmt.Fprintf(s.w, "  … %s", what)
	}
}

// End writes what came of a step: its result, or the error if there is one.
func (s *Steps) End(what string, took time.Duration, result string, err error) {
	if s.tty {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
	mark := s.paint("32", "✓")
	if err != nil {
		mark, result = s.paint("31", "✗"), FirstLine(err.Error())
	}
	fmt.Fprintf(s.w, "  %s %-*s %6.2f s   %s\n", mark, stepColumn, what, took.Seconds(), Printable(result))
}

// Ending writes what comes after all steps.
func (s *Steps) Ending(text string) { fmt.Fprintf(s.w, "\n%s\n\n", s.paint("1", text)) }

func (s *Steps) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
