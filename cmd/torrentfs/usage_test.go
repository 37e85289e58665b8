package main

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// commands are all commands, as kong knows them.
func commands(t *testing.T) []*kong.Node {
	t.Helper()
	k, err := newParser(new(cli), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return k.Model.Children
}

// helpOf is what a command line with --help prints.
func helpOf(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	_, _, err := parse(append(args, "--help"), &out)
	if !errors.As(err, &helpShown{}) {
		t.Fatalf("%v --help: %v", args, err)
	}
	return out.String()
}

// jargon are words of the parser and of Go that no help and no error may have.
var jargon = regexp.MustCompile(`default -1|default default|EOL|\bexpected\b|\bu?int\d*\b|\bfloat\b|\bbool\b|string value|slog|strconv|time: (invalid|missing|unknown)|parsing|envar|context-sensitive|text,json|short flag|%!`)

func TestHelpIsNarrowAndPlain(t *testing.T) {
	texts := map[string]string{"torrentfs": helpOf(t)}
	for _, c := range commands(t) {
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			texts[name] = helpOf(t, name)
		}
	}
	if len(texts) < 12 {
		t.Fatalf("only %d commands", len(texts))
	}
	for name, text := range texts {
		for i, line := range strings.Split(text, "\n") {
			if n := utf8.RuneCountInString(line); n > helpColumns {
				t.Errorf("%s --help, line %d has %d columns: %s", name, i+1, n, line)
			}
			if found := jargon.FindString(line); found != "" {
				t.Errorf("%s --help, line %d says %q: %s", name, i+1, found, line)
			}
		}
	}
}

// TestUsageErrorsArePlain gives every flag of every command no value, a
// senseless one and one that looks like a flag.
func TestUsageErrorsArePlain(t *testing.T) {
	wrong := 0
	for _, c := range commands(t) {
		if c.Name == "help" || c.Name == "version" {
			continue
		}
		line := []string{c.Name}
		for range c.Positional {
			line = append(line, "bash") // a shell to completion, a name to the others
		}
		for _, f := range slices.Concat(c.AllFlags(true)...) {
			name := "--" + f.Name
			for _, args := range [][]string{{name}, {name + "=?!"}, {name, "-1x"}, {name + "=-1"}} {
				if f.Name == "help" || f.Name == "version" {
					continue
				}
				_, _, err := parse(slices.Concat(line, args), io.Discard)
				if err == nil {
					continue
				}
				wrong++
				text := usageFailure(err).Error()
				if found := jargon.FindString(text); found != "" || strings.Contains(text, "\n") {
					t.Errorf("%s %v: says %q: %s", c.Name, args, found, text)
				}
				if !strings.Contains(text, f.Name) && !strings.Contains(text, "unknown flag -1 ") && !strings.Contains(text, "-1x") {
					t.Errorf("%s %v: the flag is not named: %s", c.Name, args, text)
				}
			}
		}
	}
	if wrong < 100 {
		t.Fatalf("only %d wrong command lines were refused", wrong)
	}
}

func TestDidYouMean(t *testing.T) {
	known := []string{"mount", "umount", "allow-other", "max-upload-rate", "no-trackers", "uid"}
	for unknown, want := range map[string]string{
		"mont":           ", did you mean mount?",
		"allow-othre":    ", did you mean allow-other?",
		"max-uplod-rate": ", did you mean max-upload-rate?",
		"no-track":       ", did you mean no-trackers?",
		"nofail":         "",
		"ud":             ", did you mean uid?",
		"x":              "",
		"":               "",
	} {
		if got := didYouMean(unknown, known); got != want {
			t.Errorf("didYouMean(%q) = %q, want %q", unknown, got, want)
		}
	}
}
