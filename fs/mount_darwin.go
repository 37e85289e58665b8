package fs

const installHint = "install macFUSE (https://macfuse.github.io) and allow its extension in System Settings"

// mountOptions keeps the Finder from looking for files of its own.
func mountOptions(opt Options) []string {
	return []string{access(opt), "nosuid", "nodev", "noappledouble", "default_permissions", "volname=" + opt.FSName}
}
