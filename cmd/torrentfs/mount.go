package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"torrentfs/fs"
	"torrentfs/library"
)

// unmountTimeout bounds taking the mount away, blocked readers and all.
const unmountTimeout = 5 * time.Second

type mountCmd struct {
	Torrent    string `arg:"" help:"A .torrent file or its URL, a magnet link or an info-hash; - is standard input." complete:"torrent"`
	Mountpoint string `arg:"" help:"An existing directory to mount on." complete:"dir"`

	DataDir    string     `group:"data" short:"d" aliases:"data-directory" placeholder:"DIR" complete:"dir" help:"Keep the data in DIR, laid out as the torrent says; by default in the user's cache directory, by info-hash."`
	NoPrefetch bool       `group:"data" help:"Fetch only what is read, and a little ahead of it; by default the whole torrent is downloaded in the background."`
	ReadAhead  size       `group:"data" default:"0" placeholder:"SIZE" help:"Most bytes to fetch ahead of a sequential reader; 0 adapts to the reader."`
	Place      placeFlags `embed:""`

	Limits seedLimits  `embed:""`
	Peers  peerFlags   `embed:""`
	Status statusFlags `embed:""`

	FS      fsFlags  `embed:""`
	Daemon  bool     `group:"fs" help:"Go to the background once the mount is ready."`
	Options []string `group:"fs" short:"o" sep:"none" placeholder:"OPTS" help:"Options as mount(8) has them, separated by commas: a_b=c stands for --a-b=c."`
}

// Help is the text below the summary.
func (mountCmd) Help() string {
	return `The mount's root holds what the torrent has at its top: the file of a single-file torrent, the directory of a
multi-file one. All of it is there at once, with its true sizes. A read waits for the pieces it needs, which are then
fetched before all others, and gets only bytes that were verified; cp, mpv, ffprobe and md5sum need to know nothing of
torrents. A blocked read can be interrupted like any other.

Of a magnet link the mount appears when its metadata is here; until then the command says what it waits for. What it
found is kept, and the link mounts offline the next time. All files are there; of a link that selects files (so=) these
alone are downloaded in the background, the others when they are read.

The command stays in the foreground and seeds what it has until a signal (Ctrl-C) or an unmount from outside ends it; a
second signal ends it at once. With --seed-ratio or --seed-time it uploads nothing any more when that is reached after
all was here; the mount stays. Data stays in the data directory and is found again by the next mount, without hashing
it all after a clean stop.

getfattr --only-values -n user.torrent FILE shows what is here of a file or directory and what a read waits for: its
state, progress, availability, waiting and others, each of which can be asked for by itself, as user.torrent.state.
They are not listed (getfattr -d shows none), so that no program stores them on a copy.

Desktops index and paint what they find, and would download a whole library for it. Programs of --deny-readers get
"Permission denied" for files that are not complete; the list is that of the usual ones.

As a mount helper it is used from /etc/fstab, also with noauto and x-systemd.automount:

    /srv/film.torrent /mnt/film fuse.torrentfs allow_other,nofail,_netdev 0 0

Under systemd it is a service of Type=notify.`
}

// Run mounts the torrent and serves it until it is told to stop.
func (o *mountCmd) Run(ctx context.Context, a *app) error {
	ref, err := a.refer(o.Torrent)
	if err != nil {
		return err
	}
	if a.ready == nil { // else our parent did
		if err := o.checkMountpoint(ctx, a); err != nil {
			return err
		}
	}
	if o.Daemon && a.ready == nil {
		if o.Torrent == "-" {
			return fail(exitUsage, "name a file", "mount: --daemon cannot read the torrent from standard input")
		}
		return a.daemonize(ctx, fileName(ref), o.Mountpoint)
	}
	return o.serve(ctx, a, ref)
}

// checkMountpoint refuses what cannot be mounted on before metadata is sought
// and data is hashed, which may take hours.
func (o *mountCmd) checkMountpoint(ctx context.Context, a *app) error {
	dir, checked := fs.CheckMountpoint(ctx, o.Mountpoint, a.log)
	if checked != nil {
		// To a plain user a torrent's mount is a directory that cannot be written to.
		dir, _ = mountpointPath(o.Mountpoint)
	}
	if checked == nil || errors.Is(checked, os.ErrPermission) {
		if ours, err := isOurMount(dir); err == nil && ours {
			return fail(exitMount, "choose another directory, or run torrentfs umount "+dir+" first",
				"mount %s: a torrent is mounted there already", dir)
		}
	}
	if checked != nil {
		return fail(exitMount, "", "%w", checked) // fs says itself what to do
	}
	return nil
}

func (o *mountCmd) serve(ctx context.Context, a *app, ref library.Ref) (err error) {
	add := o.Place.options("torrentfs mount on " + absolute(o.Mountpoint))
	add.NoPrefetch, add.ReadAhead, add.OnUnavailable = o.NoPrefetch, int64(o.ReadAhead), o.FS.unavailable()
	s, err := a.openSession(ctx, ref, o.DataDir, o.Peers, o.Status.StatusInterval, add)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if dir, err := mountpointPath(o.Mountpoint); err == nil {
		a.mountpoint.Store(&dir)
	}
	opt := o.FS.options(s.meta.Info.Name, a.log)
	opt.Backing = s.dir
	m, err := fs.Mount(ctx, o.Mountpoint, s.torrent.Source(), opt)
	if err != nil {
		return fail(exitMount, "", "%w", err) // fs says itself what to do
	}
	a.log.Info("mounted", "mountpoint", o.Mountpoint, "after", time.Since(s.started).Round(time.Millisecond).String())
	if err := a.ready.ok(); err != nil {
		a.log.Warn("telling the parent that the mount is ready failed", "err", err)
	}
	notified, stop := context.WithCancel(ctx)
	var notifier sync.WaitGroup
	notifier.Go(func() { a.notifyStatus(notified, s.torrent.Stats) })
	if o.Limits.any() {
		notifier.Go(func() { o.seedEnough(notified, a, s) })
	}
	defer notifier.Wait()
	defer stop()
	return o.attend(ctx, a, s, m)
}

// seedEnough ends the seeding, and not the mount, when a limit is reached after
// everything was here.
func (o *mountCmd) seedEnough(ctx context.Context, a *app, s *session) {
	if s.completed(ctx) != nil || o.Limits.wait(ctx, s.torrent.Stats) != nil {
		return
	}
	if err := s.torrent.StopSeeding(); err != nil {
		a.log.Warn("stop seeding", "err", err)
		return
	}
	a.log.Info("seeded enough: nothing is uploaded any more", "uploaded", s.torrent.Stats().Uploaded)
}

// attend shows the status until a signal comes or somebody else unmounts.
func (o *mountCmd) attend(ctx context.Context, a *app, s *session, m *fs.Mounted) error {
	gone := make(chan error, 1)
	go func() { gone <- m.Wait() }()
	signalled := false
	err := s.attended(ctx, o.Status.StatusInterval, func() error {
		select {
		case <-ctx.Done():
			signalled = true
			return nil
		case err := <-gone:
			return err
		}
	})
	a.notify(daemon.SdNotifyStopping)
	if signalled {
		a.log.Info("unmounting", "mountpoint", o.Mountpoint)
		err = unmountAndWait(m, gone)
	} else {
		a.log.Info("unmounted from outside", "mountpoint", o.Mountpoint)
	}
	if err != nil {
		return fail(exitMount, "try torrentfs umount -f "+o.Mountpoint, "unmount %s: %w", o.Mountpoint, err)
	}
	return nil
}

func unmountAndWait(m *fs.Mounted, gone <-chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), unmountTimeout)
	defer cancel()
	if err := m.Unmount(ctx); err != nil {
		return err
	}
	select {
	case err := <-gone:
		return err
	case <-ctx.Done():
		return nil // detached; the kernel lets go of it when its last user does
	}
}
