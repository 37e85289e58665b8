package ui

import (
	"strings"
	"testing"
)

func TestAsksForJSON(t *testing.T) {
	for line, want := range map[string]bool{
		"info x":                                false,
		"--log-format json info x":              true,
		"info x --log-format=json":              true,
		"info x --log-format=text":              false,
		"--log-format json info --log-format=x": false,
		"mount a b -o ro,log_format=json":       true,
		"info -- --log-format=json":             false,
		"info --log-format":                     false,
	} {
		if got := AsksForJSON(strings.Fields(line)); got != want {
			t.Errorf("asksForJSON(%q) = %v, want %v", line, got, want)
		}
	}
}
