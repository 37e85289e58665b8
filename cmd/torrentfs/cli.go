package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/alecthomas/kong"

	"torrentfs/cmd/torrentfs/internal/ui"
)

// cli is the whole command line. Each command's options and help are in the
// file of its name.
type cli struct {
	Mount    mountCmd    `cmd:"" group:"mount" help:"Mount a torrent as a read-only directory; read at once, download behind."`
	Umount   umountCmd   `cmd:"" group:"mount" aliases:"unmount" help:"Take a mount away."`
	Download downloadCmd `cmd:"" group:"swarm" help:"Download a torrent, without a mount."`
	Seed     seedCmd     `cmd:"" group:"swarm" help:"Seed data that is already on disk."`
	Tracker  trackerCmd  `cmd:"" group:"swarm" help:"Run a tracker, for a swarm of your own."`
	Info     infoCmd     `cmd:"" group:"files" help:"Show what is in a torrent."`
	Create   createCmd   `cmd:"" group:"files" help:"Make a torrent of a file or a directory."`
	Verify   verifyCmd   `cmd:"" group:"files" help:"Check data on disk against a torrent."`

	Demo       demoCmd       `cmd:"" group:"other" help:"Show all of it on this machine alone, in one screen."`
	Completion completionCmd `cmd:"" group:"other" help:"Print a completion script for bash, zsh or fish."`
	Version    versionCmd    `cmd:"" group:"other" help:"Print the version."`
	Help       helpCmd       `cmd:"" group:"other" help:"Show the help of a command."`

	Log         logFlags    `embed:""`
	ShowVersion versionFlag `name:"version" short:"V" help:"Print the version."`

	notes   []string // what parsing wants to tell the log
	ignored []string // options of -o that mean nothing to us nor to mount(8)
}

// helpShown is the error that stops parsing after --help or --version was
// answered.
type helpShown struct{ code int }

func (helpShown) Error() string { return "help shown" }

// parse parses the command line. Options of -o that mount knows as flags are
// turned into these flags; flags given as such win.
func parse(args []string, stdout io.Writer) (*cli, *kong.Context, error) {
	c, kctx, err := parseOnce(args, stdout)
	if err != nil || len(c.Mount.Options) == 0 {
		return c, kctx, err
	}
	o, err := expandMountOptions(kctx, c.Mount)
	if err != nil {
		return nil, nil, err
	}
	at := len(args)
	if i := slices.Index(args, "--"); i >= 0 {
		at = i
	}
	c, kctx, err = parseOnce(slices.Insert(slices.Clone(args), at, o.flags...), stdout)
	if err != nil {
		return nil, nil, err
	}
	c.notes, c.ignored = o.notes, o.ignored
	return c, kctx, nil
}

func parseOnce(args []string, stdout io.Writer) (c *cli, kctx *kong.Context, err error) {
	c = new(cli)
	k, err := newParser(c, stdout)
	if err != nil {
		return nil, nil, fmt.Errorf("build command line: %w", err)
	}
	// Kong answers --help and --version in the middle of parsing and then calls
	// Exit, which must not return.
	defer func() {
		if r := recover(); r != nil {
			shown, ok := r.(helpShown)
			if !ok {
				panic(r)
			}
			err = shown
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err = k.Parse(args)
	return c, kctx, err
}

func newParser(c *cli, stdout io.Writer) (*kong.Kong, error) {
	k, err := kong.New(c, append(ui.Mappers(),
		kong.Name("torrentfs"),
		kong.Description(appSummary),
		kong.Writers(stdout, io.Discard),
		kong.Exit(func(code int) { panic(helpShown{code}) }),
		kong.ExplicitGroups(groups()),
		kong.ConfigureHelp(kong.HelpOptions{
			Compact: true, FlagsLast: true, NoExpandSubcommands: true, NoAppDescFormat: true, WrapUpperBound: helpColumns,
		}),
		kong.Help(printHelp),
		kong.ValueFormatter(withDefault),
	)...)
	if err == nil {
		k.Model.HelpFlag.Help = "Show this help."
	}
	return k, err
}
