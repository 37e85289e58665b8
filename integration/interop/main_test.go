//go:build linux

package interop

import (
	"testing"

	"torrentfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
