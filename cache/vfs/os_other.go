//go:build !linux

package vfs

import (
	"errors"
	"os"
)

func writeVectorAt(f *os.File, bufs [][]byte, off int64) (int, error) {
	total := 0
	for _, b := range bufs {
		n, err := f.WriteAt(b, off+int64(total))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func readCached(*os.File, []byte, int64) int { return 0 }

func stat(f *os.File) (Info, error) {
	st, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	return infoOf(st), nil
}

func (o *osFS) lstat(name string) (Info, error) {
	st, err := o.root.Lstat(name)
	if err != nil {
		return Info{}, err
	}
	return infoOf(st), nil
}

func syncFS(*os.File) error { return errors.ErrUnsupported }

func probe(f *os.File, off int64) error {
	_, err := f.ReadAt(make([]byte, 1), off)
	return err
}

func punchHole(*os.File, int64, int64) error { return errors.ErrUnsupported }

func nextData(*os.File, int64) (int64, int64, error) { return 0, 0, errors.ErrUnsupported }

func copyRange(*os.File, int64, *os.File, int64, int64) (int64, error) {
	return 0, errors.ErrUnsupported
}

// watched is nothing: the system does not say who changed a file.
type watched struct{}

// Witness implements [File].
func (*osFile) Witness() Witness { return nil }

// Close implements [io.Closer].
func (o *osFile) Close() error { return o.f.Close() }
