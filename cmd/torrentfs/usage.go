package main

import (
	"errors"
	"io"
	"slices"

	"github.com/alecthomas/kong"

	"torrentfs/cmd/torrentfs/internal/ui"
)

// usageFailure turns what kong says of a command line into our one line.
func usageFailure(err error) error {
	var f *failure
	if errors.As(err, &f) {
		return err
	}
	command := ""
	var pe *kong.ParseError
	if errors.As(err, &pe) && pe.Context != nil {
		if node := pe.Context.Selected(); node != nil {
			command = node.Name
		}
	}
	hint := "see torrentfs --help"
	if command != "" {
		hint = "see torrentfs " + command + " --help"
	}
	return fail(exitUsage, hint, "parse command line: %w", errors.New(ui.PlainUsage(err.Error(), command, isFlagOfSomeCommand)))
}

func isFlagOfSomeCommand(name string) bool {
	k, err := newParser(new(cli), io.Discard)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(k.Model.Children, func(n *kong.Node) bool {
		return slices.ContainsFunc(n.Flags, func(f *kong.Flag) bool { return f.Name == name || slices.Contains(f.Aliases, name) })
	})
}
