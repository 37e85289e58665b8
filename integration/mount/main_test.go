//go:build linux

package mount

import (
	"fmt"
	"os"
	"testing"

	"torrentfs/integration/harness"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(automountVariable); dir != "" {
		if err := automount(dir, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "automount:", err)
			os.Exit(1)
		}
		return
	}
	harness.Main(m)
}
