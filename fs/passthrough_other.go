//go:build !linux

package fs

import (
	"errors"
	"os"
)

func (f *fileSystem) probePassthrough() error { return errors.ErrUnsupported }

func (f *fileSystem) registerBacking(*handle, *os.File) (int32, bool) { return 0, false }

func (f *fileSystem) unregisterBacking(int32) {}
