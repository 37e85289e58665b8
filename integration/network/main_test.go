//go:build linux

package network

import (
	"testing"

	"torrentfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
