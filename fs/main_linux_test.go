package fs_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is also the server that tests mount from, and some of the readers: a process of
// its own can be killed when it hangs, and a process that reads its own mount can deadlock.
func TestMain(m *testing.M) {
	switch role := os.Getenv("TORRENTFS_TEST_ROLE"); role {
	case "":
	case "server":
		serverMain()
		return
	case "signalled":
		signalledReaderMain()
		return
	case "mountpoints":
		mountpointsMain()
		return
	default:
		fmt.Fprintln(os.Stderr, "unknown role", role)
		os.Exit(2)
	}
	goleak.VerifyTestMain(m)
}
