package fs

import "strings"

const installHint = "install macFUSE (https://macfuse.github.io) and allow its extension in System Settings"

// mountOptions keeps the Finder from looking for files of its own. Without the option "local" macOS
// takes the volume for a remote one, which Spotlight leaves alone.
func mountOptions(opt Options) []string {
	volume := strings.NewReplacer(":", " ", ",", " ", "/", " ").Replace(strings.TrimPrefix(opt.FSName, "torrent:"))
	return []string{access(opt), "nosuid", "nodev", "noappledouble", "default_permissions", "volname=" + volume}
}
