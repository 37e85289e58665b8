//go:build linux

package disk

import (
	"testing"

	"torrentfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
