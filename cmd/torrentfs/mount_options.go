package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// errReadOnly answers -o rw.
var errReadOnly = errors.New("option rw: a torrent never changes")

// errRemount answers -o remount.
var errRemount = errors.New("it cannot be remounted: a mount keeps the options that it was made with")

// foreignOptions are those that lines of fstab carry for mount(8), systemd and
// the kernel, and those of other FUSE programs that are so here anyway. They
// are ignored without a word, as are x-… and X-….
var foreignOptions = strings.Fields(`
	auto noauto user nouser users owner group nofail _netdev defaults comment
	dev nodev suid nosuid exec noexec sync async dirsync silent loud
	atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime lazytime nolazytime
	mand nomand iversion noiversion symfollow nosymfollow
	default_permissions nonempty subtype`)

// mountOptions is what the options of -o come to.
type mountOptions struct {
	flags   []string // of the mount command
	notes   []string // for the log
	ignored []string // options that nobody knows, with a guess at what was meant
}

// expandMountOptions turns the options of mount(8) into flags of the mount
// command: a_b=c becomes --a-b=c. Flags that were given themselves win over
// options. Unknown options stop nothing, because lines of fstab carry options
// for others.
func expandMountOptions(kctx *kong.Context, cmd mountCmd) (o mountOptions, err error) {
	given := make(map[*kong.Flag]bool)
	for _, p := range kctx.Path {
		if p.Flag != nil {
			given[p.Flag] = true
		}
	}
	flags := slices.Concat(kctx.Selected().AllFlags(true)...)
	for _, option := range slices.Concat(splitOptions(cmd.Options)...) {
		written, value, hasValue := strings.Cut(option, "=")
		switch written {
		case "ro":
			continue
		case "rw":
			return o, fail(exitUsage, "leave it out", "parse mount options: %w", errReadOnly)
		case "remount":
			return o, fail(exitMount, "run torrentfs umount "+cmd.Mountpoint+", then mount it again with the new options",
				"mount %s: %w", cmd.Mountpoint, errRemount)
		}
		name := strings.ReplaceAll(written, "_", "-")
		i := slices.IndexFunc(flags, func(f *kong.Flag) bool {
			return f.Name == name || slices.Contains(f.Aliases, name)
		})
		switch {
		case i < 0 || !isOption(flags[i]):
			o.ignore(written, flags) // its value may be a secret
		case given[flags[i]] && !flags[i].IsCumulative():
			o.notes = append(o.notes, "mount option "+written+" is overridden by --"+name)
		case hasValue:
			o.flags = append(o.flags, "--"+name+"="+value)
		case flags[i].IsBool():
			o.flags = append(o.flags, "--"+name)
		default:
			return o, fail(exitUsage, "write "+option+"=VALUE", "parse mount options: option %s needs a value", option)
		}
	}
	return o, nil
}

// isOption reports whether a flag may be given as an option of -o.
func isOption(f *kong.Flag) bool { return f.Short != 'o' && f.Name != "help" && f.Name != "version" }

// ignore notes an option that no flag has.
func (o *mountOptions) ignore(option string, flags []*kong.Flag) {
	if slices.Contains(foreignOptions, option) || strings.HasPrefix(option, "x-") || strings.HasPrefix(option, "X-") {
		o.notes = append(o.notes, "ignoring mount option "+option)
		return
	}
	var known []string
	for _, f := range flags {
		if isOption(f) {
			known = append(known, strings.ReplaceAll(f.Name, "-", "_"))
		}
	}
	o.ignored = append(o.ignored, option+didYouMean(option, known))
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
