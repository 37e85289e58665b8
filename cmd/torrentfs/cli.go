package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
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

	notes []string // what parsing wants to tell the log
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
	extra, notes, err := expandMountOptions(kctx, c.Mount.Options)
	if err != nil {
		return nil, nil, err
	}
	at := len(args)
	if i := slices.Index(args, "--"); i >= 0 {
		at = i
	}
	c, kctx, err = parseOnce(slices.Insert(slices.Clone(args), at, extra...), stdout)
	if err != nil {
		return nil, nil, err
	}
	c.notes = notes
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
	k, err := kong.New(c, append(mappers(),
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

// errReadOnly answers -o rw.
var errReadOnly = errors.New("option rw: a torrent never changes")

// expandMountOptions turns the options of mount(8) into flags of the mount
// command: a_b=c becomes --a-b=c. Flags that were given themselves win over
// options. Unknown options are left alone, because fstab lines carry options
// for others (nofail, _netdev, x-systemd.…); each leaves a note for the log.
func expandMountOptions(kctx *kong.Context, options []string) (args, notes []string, err error) {
	given := make(map[*kong.Flag]bool)
	for _, p := range kctx.Path {
		if p.Flag != nil {
			given[p.Flag] = true
		}
	}
	flags := slices.Concat(kctx.Selected().AllFlags(true)...)
	for _, option := range slices.Concat(splitOptions(options)...) {
		written, value, hasValue := strings.Cut(option, "=")
		switch written {
		case "ro":
			continue
		case "rw":
			return nil, nil, fail(exitUsage, "leave it out", "parse mount options: %w", errReadOnly)
		}
		name := strings.ReplaceAll(written, "_", "-")
		i := slices.IndexFunc(flags, func(f *kong.Flag) bool {
			return f.Name == name || slices.Contains(f.Aliases, name)
		})
		switch {
		case i < 0 || flags[i].Short == 'o' || name == "help":
			notes = append(notes, "ignoring mount option "+written) // its value may be a secret
		case given[flags[i]] && !flags[i].IsCumulative():
			notes = append(notes, "mount option "+written+" is overridden by --"+name)
		case hasValue:
			args = append(args, "--"+name+"="+value)
		case flags[i].IsBool():
			args = append(args, "--"+name)
		default:
			return nil, nil, fail(exitUsage, "write "+option+"=VALUE", "parse mount options: option %s needs a value", option)
		}
	}
	return args, notes, nil
}

// splitOptions splits each -o argument at its commas; a comma after a
// backslash belongs to the option.
func splitOptions(options []string) [][]string {
	split := make([][]string, len(options))
	for i, list := range options {
		var option strings.Builder
		flush := func() {
			if option.Len() > 0 {
				split[i] = append(split[i], option.String())
			}
			option.Reset()
		}
		for j := 0; j < len(list); j++ {
			switch {
			case list[j] == '\\' && j+1 < len(list) && (list[j+1] == ',' || list[j+1] == '\\'):
				j++
				option.WriteByte(list[j])
			case list[j] == ',':
				flush()
			default:
				option.WriteByte(list[j])
			}
		}
		flush()
	}
	return split
}
