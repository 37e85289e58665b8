package fs

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	// probeNodeID is outside of every tree.
	probeNodeID = 1 << 62
	probeSize   = 1 << 20
	probeLimit  = 2 * time.Second
)

// probeFile is a file that exists while a mount is being tried: every read of more than a page of
// it fails, as a bounced read does. A kernel that nevertheless reads all of it can be bounced.
type probeFile struct {
	name    string
	bounced atomic.Int64
	pages   atomic.Int64
}

func (p *probeFile) lookup(out *fuse.EntryOut) {
	out.NodeId, out.Generation = probeNodeID, 1
	probeAttributes(&out.Attr)
}

func probeAttributes(out *fuse.Attr) {
	out.Ino, out.Mode, out.Nlink, out.Size = probeNodeID, fuse.S_IFREG|0o444, 1, probeSize
	out.Owner = fuse.Owner{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}
}

func (f *fileSystem) openProbe(out *fuse.OpenOut) fuse.Status {
	if f.probe.Load() == nil {
		return fuse.ENOENT
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

func (f *fileSystem) readProbe(in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	p := f.probe.Load()
	if p == nil || in.Offset >= probeSize {
		return nil, fuse.EIO
	}
	n := min(len(buf), int(in.Size), probeSize-int(in.Offset))
	if n > pageSize() {
		p.bounced.Add(1)
		return nil, fuse.EAGAIN
	}
	p.pages.Add(1)
	fillProbe(buf[:n], int64(in.Offset))
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// fillProbe writes the probe's contents: each 8 bytes hold their own offset. off and len(p) are
// multiples of 8.
func fillProbe(p []byte, off int64) {
	for i := 0; i+8 <= len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], uint64(off)+uint64(i))
	}
}

// probeBounce tries whether this kernel asks again, page by page, for a read-ahead that failed.
// With a kernel that does not, reads are not bounced. The probe is bounded in time.
func (f *fileSystem) probeBounce(ctx context.Context, mountpoint string) error {
	p := &probeFile{name: fmt.Sprintf(".torrentfs-probe-%d-%d", os.Getpid(), time.Now().UnixNano())}
	f.probe.Store(p)
	defer f.probe.Store(nil)
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	done := make(chan error, 1)
	go func() { // ends with the mount, at the latest
		done <- withOwnDescriptors(func() error { return readProbeFile(filepath.Join(mountpoint, p.name)) })
	}()
	select {
	case err := <-done:
		if err == nil && p.bounced.Load() == 0 {
			return fmt.Errorf("kernel sent no read-ahead")
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readProbeFile reads all of the probe in order, in the sizes of a small and of a large reader.
func readProbeFile(name string) error {
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer syscall.Close(fd) //nolint:errcheck // only read from
	got, want := make([]byte, 128<<10), make([]byte, 128<<10)
	for off := int64(0); off < probeSize; {
		n := 4 << 10
		if off >= probeSize/8 {
			n = 128 << 10
		}
		for done := 0; done < n; {
			m, err := syscall.Pread(fd, got[done:n], off+int64(done))
			switch {
			case err == syscall.EINTR:
			case err != nil:
				return fmt.Errorf("read probe at %d: %w", off, err)
			case m == 0:
				return fmt.Errorf("read probe at %d: %w", off, io.ErrUnexpectedEOF)
			}
			done += max(m, 0)
		}
		fillProbe(want[:n], off)
		if string(got[:n]) != string(want[:n]) {
			return fmt.Errorf("read probe at %d: wrong bytes", off)
		}
		off += int64(n)
	}
	return nil
}
