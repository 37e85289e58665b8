package fs

const installHint = "load the module with \"kldload fusefs\" and install the port fusefs-libs3"

func mountOptions(Options) []string { return []string{"ro", "nosuid", "default_permissions"} }
