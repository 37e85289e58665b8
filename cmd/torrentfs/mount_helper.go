package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// asMountHelper recognises how mount(8) calls a helper: `mount.torrentfs SRC MNT [-sfnv] [-N NAMESPACE] [-o OPTIONS]
// [-t TYPE]` for the type torrentfs, and by way of mount.fuse3 `torrentfs SRC MNT -o OPTIONS` for the type
// fuse.torrentfs. It is turned into `torrentfs mount --daemon SRC MNT -o OPTIONS`: mount(8) waits for the helper to
// return, and that is when the mount is ready.
func asMountHelper(args []string) []string {
	if len(args) == 0 {
		return args
	}
	helper := strings.HasPrefix(filepath.Base(args[0]), "mount.")
	if len(args) == 5 && args[3] == "-o" && !strings.HasPrefix(args[1], "-") && !isCommand(args[1]) {
		helper = true
	}
	if !helper || slices.Contains(args, "--help") {
		return args
	}
	out := []string{"torrentfs", "mount", "--daemon"}
	if len(args) > 1 {
		// mount -a knows by the source whether a line of fstab is mounted already.
		out = append(out, "--fsname="+args[1])
	}
	for i := 1; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "-o" && i+1 < len(args):
			i++
			out = append(out, "-o", withoutWrite(args[i]))
		case (arg == "-t" || arg == "-N") && i+1 < len(args):
			i++
		case arg == "-f":
			return []string{"torrentfs", "version"} // all but the mounting
		case len(arg) > 1 && strings.Trim(arg, "snvrw") == "-":
			// sloppy, no mtab, verbose: as we are; read-only or not: as we are, too
		default:
			out = append(out, arg)
		}
	}
	return out
}

// withoutWrite drops the option rw, which mount(8) adds where the user said nothing. A comma behind a backslash belongs
// to an option.
func withoutWrite(options string) string {
	var kept []string
	for i, o := range strings.Split(options, ",") {
		if o == "rw" && (i == 0 || len(kept) == 0 || !strings.HasSuffix(kept[len(kept)-1], `\`)) {
			continue
		}
		kept = append(kept, o)
	}
	return strings.Join(kept, ",")
}

// findHome sets HOME, if it is not set, to what the system knows: systemd runs mount helpers without it, and what one run
// has put below it is to be found by the next. If there is no such directory HOME stays unset.
func findHome() error {
	if os.Getenv("HOME") != "" {
		return nil
	}
	u, err := user.Current()
	if err != nil || !filepath.IsAbs(u.HomeDir) {
		return nil //nolint:nilerr // what needs it says so
	}
	if st, err := os.Stat(u.HomeDir); err != nil || !st.IsDir() {
		return nil //nolint:nilerr // likewise
	}
	if err := os.Setenv("HOME", u.HomeDir); err != nil {
		return fmt.Errorf("set HOME: %w", err)
	}
	return nil
}
