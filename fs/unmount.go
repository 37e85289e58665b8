package fs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"torrentfs/internal/leave"
)

// Wait returns when the mount has ended: unmounted by [Mounted.Unmount] or by another program. A
// mount that was detached while in use ends as Unmount ends it: its readers get EIO.
func (m *Mounted) Wait() error {
	select {
	case <-m.ended:
	case <-m.detached:
	case <-m.lost:
		return m.Unmount(context.Background())
	}
	return nil
}

// Unmount ends the mount within a second. All reads fail first, those in flight and those to come.
// If files are still open then, the mount is detached: the directory is free and every [File] is
// closed, but the kernel may keep asking, and get EIO, until the last of its handles is closed.
// Bind mounts of it, and the places it was moved to, are unmounted as well. Unmounting twice is no
// error.
func (m *Mounted) Unmount(ctx context.Context) error {
	m.fs.close()
	m.unmountMu.Lock()
	defer m.unmountMu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, unmountLimit)
	defer cancel()
	if m.isOver() {
		return nil
	}
	err := m.takeAway(ctx)
	select {
	case <-m.ended:
		return nil
	case <-time.After(closeLimit):
	case <-ctx.Done():
	}
	m.fs.closeHandles(closeLimit)
	if points, perr := m.points(ctx); err != nil && (perr != nil || len(points) > 0) {
		return err
	}
	if !m.isOver() {
		close(m.detached)
	}
	return nil
}

// maxMounts bounds the rounds in which a mount's further bind mounts are looked for.
const maxMounts = 64

// takeAway unmounts all mount points of this mount that this process sees. Another mount that has
// taken its place stays.
func (m *Mounted) takeAway(ctx context.Context) error {
	busy, cancel := context.WithTimeout(ctx, busyLimit)
	defer cancel()
	for range maxMounts {
		points, err := m.points(ctx)
		if err != nil {
			return m.unmountPoint(ctx, busy, m.mountpoint)
		}
		if len(points) == 0 || m.isOver() {
			return nil
		}
		if err := m.unmountPoint(ctx, busy, points[0]); err != nil {
			return err
		}
	}
	return errors.New("it is mounted on too many directories")
}

// unmountPoint unmounts one point, lazily if it is still in use when busy ends.
func (m *Mounted) unmountPoint(ctx, busy context.Context, point string) error {
	err := m.unmountSoon(busy, point)
	if err == nil {
		return nil
	}
	m.fs.log.Info("mount is busy: detaching it", "mountpoint", point, "err", err)
	abort := abortLater(m.device)
	err = unmountBounded(ctx, point, true)
	abort()
	if err != nil {
		return fmt.Errorf("unmount %s: %w", point, err)
	}
	return nil
}

// points are the mount's mount points, the last made first.
func (m *Mounted) points(ctx context.Context) ([]string, error) {
	if m.device == 0 { // it never answered
		return nil, errors.ErrUnsupported
	}
	return bounded(ctx, func() ([]string, error) { return pointsOf(m.mountpoint, m.device) })
}

func (m *Mounted) isOver() bool {
	select {
	case <-m.ended:
		return true
	case <-m.detached:
		return true
	default:
		return false
	}
}

// unmountSoon unmounts a point as soon as it is no longer in use, or gives up.
func (m *Mounted) unmountSoon(ctx context.Context, point string) error {
	for pause := 5 * time.Millisecond; ; pause *= 2 {
		if m.isOver() {
			return nil
		}
		err := unmountBounded(ctx, point, false)
		if err == nil {
			return nil
		}
		select {
		case <-m.ended:
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// bounded runs f, which may hang in the kernel, and gives up on it when ctx ends.
func bounded[T any](ctx context.Context, f func() (T, error)) (T, error) {
	return leave.Run(ctx, 0, f)
}

func unmountBounded(ctx context.Context, path string, lazy bool) error {
	_, err := bounded(ctx, func() (struct{}, error) { return struct{}{}, unmount(ctx, path, lazy) })
	return err
}
