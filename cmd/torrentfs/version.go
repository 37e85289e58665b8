package main

import (
	"fmt"
	"io"
	"runtime"

	"torrentfs/internal/version"
)

type versionCmd struct{}

// Run prints the version and what it was built with.
func (versionCmd) Run(a *app) error { return printVersion(a.stdout) }

func printVersion(w io.Writer) error {
	_, err := fmt.Fprintf(w, "torrentfs %s (%s, %s/%s)\n", version.String(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
