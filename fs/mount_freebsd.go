package fs

const installHint = "load the module with \"kldload fusefs\" and install the port fusefs-libs3"

func mountOptions(opt Options) []string {
	return []string{access(opt), "nosuid", "default_permissions"}
}
