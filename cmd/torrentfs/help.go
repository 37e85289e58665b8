package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// helpColumns is the widest line of a help text.
const helpColumns = 79

const appSummary = `Torrentfs mounts a torrent as a read-only directory. A read waits for the
pieces it needs and gets only bytes that were verified; the rest downloads
behind it, and what is here is seeded.`

const examples = `Examples:
  torrentfs mount film.torrent /mnt/film      mount it; Ctrl-C unmounts
  mpv /mnt/film/film.mkv                      plays while it downloads
  torrentfs mount -o allow_other --daemon film.torrent /mnt/film
  torrentfs umount /mnt/film
  torrentfs create --tracker http://10.0.0.1:6969/announce pictures/
  torrentfs seed pictures.torrent --data-dir .`

func groups() []kong.Group {
	return []kong.Group{
		{Key: "mount", Title: "Mounts:"},
		{Key: "swarm", Title: "Without a mount:"},
		{Key: "files", Title: "Torrent files:"},
		{Key: "other", Title: "And:"},
		{Key: "data", Title: "Data:"},
		{Key: "peers", Title: "Peers:"},
		{Key: "network", Title: "Network:"},
		{Key: "fs", Title: "File system:"},
		{Key: "log", Title: "Log:"},
	}
}

type helpCmd struct {
	Command string `arg:"" optional:"" complete:"command" help:"The command to explain."`
}

// Run prints what --help prints.
func (o *helpCmd) Run(a *app) error {
	args := []string{"--help"}
	if o.Command != "" {
		if !isCommand(o.Command) {
			return fail(exitUsage, "see torrentfs --help", "show help: there is no command %q%s", o.Command, didYouMean(o.Command, commandNames()))
		}
		args = []string{o.Command, "--help"}
	}
	_, _, err := parse(args, a.stdout)
	if helped := (helpShown{}); errors.As(err, &helped) {
		return nil
	}
	return err
}

// versionFlag is --version: the version and nothing else.
type versionFlag bool

// BeforeReset is called by kong as soon as it sees the flag.
func (versionFlag) BeforeReset(k *kong.Kong) error {
	if err := printVersion(k.Stdout); err != nil {
		return err
	}
	k.Exit(0)
	return nil
}

// withDefault adds a flag's default to its help, where the placeholder hides
// it and the text does not tell.
func withDefault(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	if v.Flag == nil || !v.HasDefault || v.Tag.PlaceHolder == "" || v.Default == "" || slices.Contains([]string{"0", "off", ".", "default"}, v.Default) {
		return help
	}
	return strings.TrimSuffix(help, ".") + " (default " + v.Default + ")."
}

// printHelp is kong's help, and below the program's own the exit codes and
// some examples.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	if ctx.Selected() != nil {
		return nil
	}
	_, err := fmt.Fprintf(ctx.Stdout, "\n%s\n\n%s\n", examples, exitCodesHelp)
	return err
}

// isCommand reports whether a word is the name of a command.
func isCommand(name string) bool { return slices.Contains(commandNames(), name) }

// commandNames are the names of all commands, aliases as well.
func commandNames() (names []string) {
	k, err := newParser(new(cli), io.Discard)
	if err != nil {
		return nil
	}
	for _, n := range k.Model.Children {
		names = append(append(names, n.Name), n.Aliases...)
	}
	return names
}
