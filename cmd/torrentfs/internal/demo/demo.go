package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"torrentfs/cmd/torrentfs/internal/ui"
)

// Minimum is the least size of a demonstration: it leaves the large file large enough to have a
// middle.
const Minimum = 1 << 20

// Options is what a demonstration is run with.
type Options struct {
	Name       string    // by which the programs are started, as in argv[0]
	Out        io.Writer // what is shown
	Size       int64     // bytes of data to make, at least [Minimum]
	Rate       int64     // bytes per second that the seeder is held to; 0 = no limit
	V2, Hybrid bool      // the kind of torrent; v1 if neither is set
	Keep       bool      // leave the files

	// Mounted reports whether a mount of ours is at a directory, and Unmount takes away one that
	// was left.
	Mounted func(dir string) (bool, error)
	Unmount func(ctx context.Context, dir string) error
}

// Kind is what a step failed at.
type Kind int

// The kinds.
const (
	Disk    Kind = iota // making files
	Data                // what was read is not what was made
	Mount               // the mount did not go away
	Program             // a program that was started failed; see [Error.Code]
)

// Error is why a step failed.
type Error struct {
	Kind Kind
	Code int // exit code of the program; 0 if it told none
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

func fail(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// stepTimeout bounds each step: a demo that hangs shows nothing.
const stepTimeout = 2 * time.Minute

// demo is one run of the demonstration. Its programs are processes of their
// own, started with the very command lines that a user would type.
type demo struct {
	opt    Options
	screen *ui.Steps
	self   string // our executable
	dir    string // holds everything

	content  *content
	tracker  *process
	seeder   *process
	mount    *process
	announce string // URL of the tracker
}

// Run shows every step on o.Out and cleans up. An error of a step is an [*Error] if more is known
// of it.
func Run(ctx context.Context, o Options) (err error) {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("demo: find own program: %w", err)
	}
	dir, err := os.MkdirTemp("", "torrentfs-demo-")
	if err != nil {
		return fail(Disk, "demo: %w", err)
	}
	d := &demo{opt: o, self: self, dir: dir, screen: ui.NewSteps(o.Out)}
	d.screen.Title("torrentfs demo: a whole swarm on this machine alone, in " + dir)
	started := time.Now()
	runErr := d.run(ctx)
	cleanErr := d.cleanUp()
	if err := errors.Join(runErr, cleanErr); err != nil {
		d.screen.Ending("It did not work.")
		return err
	}
	d.screen.Ending(fmt.Sprintf("All of it worked, in %.1f s. What a mount can do for you: torrentfs mount --help", time.Since(started).Seconds()))
	return nil
}

// run walks through the steps until one fails.
func (d *demo) run(ctx context.Context) error {
	steps := []struct {
		what string
		do   func(context.Context) (result string, err error)
	}{
		{"make data", d.makeData},
		{"torrentfs tracker", d.startTracker},
		{"torrentfs create", d.create},
		{"torrentfs seed", d.startSeeder},
		{"torrentfs mount", d.startMount},
		{"read from the middle, at once", d.readMiddle},
		{"read all while it downloads", d.readAll},
		{"second client, from the mount alone", d.secondClient},
		{"unmount with Ctrl-C", d.unmount},
		{"mount again, nobody to ask", d.mountAgain},
		{"read all again", d.readAgain},
	}
	for _, s := range steps {
		if err := d.step(ctx, s.what, s.do); err != nil {
			return err
		}
	}
	return nil
}

// step shows one step and bounds it.
func (d *demo) step(ctx context.Context, what string, do func(context.Context) (string, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, stepTimeout, fmt.Errorf("no end after %s", stepTimeout))
	defer cancel()
	d.screen.Begin(what)
	started := time.Now()
	result, err := do(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	d.screen.End(what, time.Since(started), result, err)
	if err == nil {
		return nil
	}
	return fmt.Errorf("demo: %s: %w", what, err)
}

func (d *demo) path(elem ...string) string { return filepath.Join(append([]string{d.dir}, elem...)...) }

func (d *demo) makeData(context.Context) (string, error) {
	var err error
	d.content, err = makeContent(d.path("seed"), d.opt.Size)
	if err != nil {
		return "", fail(Disk, "%w", err)
	}
	return fmt.Sprintf("%s in %s, one of them large, one empty", ui.FormatBytes(d.content.total), ui.Plural(len(d.content.files), "file")), nil
}

func (d *demo) startTracker(ctx context.Context) (string, error) {
	var err error
	if d.tracker, err = d.start("tracker", "--listen", "127.0.0.1:0", "--udp", "none"); err != nil {
		return "", err
	}
	record, err := d.tracker.await(ctx, "listening")
	if err != nil {
		return "", err
	}
	d.announce = "http://" + record.text("addr") + "/announce"
	return d.announce, nil
}

func (d *demo) create(ctx context.Context) (string, error) {
	args := []string{"create", d.path("seed", torrentName), "--tracker", d.announce, "-o", d.torrent()}
	switch {
	case d.opt.V2:
		args = append(args, "--v2")
	case d.opt.Hybrid:
		args = append(args, "--hybrid")
	}
	out, err := d.output(ctx, args...)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(out, "\n")
	_, facts, _ := strings.Cut(line, ": ")
	return facts, nil
}

func (d *demo) startSeeder(ctx context.Context) (string, error) {
	args := []string{"seed", d.torrent(), "--data-dir", d.path("seed")}
	limit := "at full speed"
	if d.opt.Rate > 0 {
		args = append(args, "--max-upload-rate", fmt.Sprint(d.opt.Rate))
		limit = "held to " + ui.FormatRate(float64(d.opt.Rate))
	}
	var err error
	if d.seeder, err = d.start(args...); err != nil {
		return "", err
	}
	if _, err := d.seeder.await(ctx, "seeding"); err != nil {
		return "", err
	}
	return "one seeder, " + limit, nil
}

func (d *demo) torrent() string { return d.path(torrentName + ".torrent") }

func (d *demo) startMount(ctx context.Context) (string, error) {
	if err := os.MkdirAll(d.path("mnt"), 0o755); err != nil {
		return "", fail(Disk, "%w", err)
	}
	if err := d.runMount(ctx); err != nil {
		return "", err
	}
	if err := d.content.list(d.path("mnt", torrentName)); err != nil {
		return "", fail(Data, "%w", err)
	}
	return fmt.Sprintf("all %d files are there, with their sizes", len(d.content.files)), nil
}

// runMount starts a mount process and waits until it is ready.
func (d *demo) runMount(ctx context.Context) (err error) {
	d.mount, err = d.start("mount", d.torrent(), d.path("mnt"), "--data-dir", d.path("mounted"), "--status-interval", "20ms")
	if err != nil {
		return err
	}
	_, err = d.mount.await(ctx, "mounted")
	return err
}

func (d *demo) readMiddle(ctx context.Context) (string, error) {
	defer d.failReadsWith(ctx)()
	started := time.Now()
	n, err := d.content.compareMiddle(d.path("mnt", torrentName), d.path("seed", torrentName))
	if err != nil {
		return "", fail(Data, "%w", err)
	}
	took := time.Since(started)
	status, err := d.mount.next(ctx, "status")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s of %s after %d ms; of the torrent, %s was here", ui.FormatBytes(int64(n)), largeFile,
		took.Milliseconds(), ui.Percent(status.number("verified"), status.number("total"))), nil
}

func (d *demo) readAll(ctx context.Context) (string, error) {
	defer d.failReadsWith(ctx)()
	started := time.Now()
	if err := d.content.compare(d.path("mnt", torrentName)); err != nil {
		return "", fail(Data, "%w", err)
	}
	return fmt.Sprintf("every byte is right; %s, from %s", speed(d.content.total, time.Since(started)),
		ui.Plural(d.mount.mostPeers(), "peer")), nil
}

// secondClient stops the seeder, so that all that a new client gets comes from
// the mount, and has another command check what it got.
func (d *demo) secondClient(ctx context.Context) (string, error) {
	if err := d.seeder.stop(); err != nil {
		return "", err
	}
	started := time.Now()
	if _, err := d.output(ctx, "download", d.torrent(), "--data-dir", d.path("second")); err != nil {
		return "", err
	}
	took := time.Since(started)
	if _, err := d.output(ctx, "verify", d.torrent(), "--data-dir", d.path("second")); err != nil {
		return "", err
	}
	return fmt.Sprintf("the mount uploaded it all, %s; verified", speed(d.content.total, took)), nil
}

func (d *demo) unmount(context.Context) (string, error) {
	if err := d.mount.stop(); err != nil {
		return "", err
	}
	if mounted, err := d.opt.Mounted(d.path("mnt")); err != nil || mounted {
		return "", fail(Mount, "the mount is still there (%w)", err)
	}
	stopped, ok := d.mount.last("stopped")
	if !ok {
		return "", errors.New("the mount said nothing when it stopped")
	}
	return fmt.Sprintf("exit code 0; it had fetched %s and uploaded %s", ui.FormatBytes(stopped.number("downloaded")),
		ui.FormatBytes(stopped.number("uploaded"))), nil
}

func (d *demo) mountAgain(ctx context.Context) (string, error) {
	if err := d.tracker.stop(); err != nil {
		return "", err
	}
	started := time.Now()
	if err := d.runMount(ctx); err != nil {
		return "", err
	}
	took := time.Since(started)
	status, err := d.mount.next(ctx, "status")
	if err != nil {
		return "", err
	}
	if status.number("verified") != d.content.total {
		return "", fail(Data, "%s of %s found again", ui.FormatBytes(status.number("verified")), ui.FormatBytes(d.content.total))
	}
	return fmt.Sprintf("ready in %d ms, 100%% found without hashing", took.Milliseconds()), nil
}

func (d *demo) readAgain(ctx context.Context) (string, error) {
	defer d.failReadsWith(ctx)()
	started := time.Now()
	if err := d.content.compare(d.path("mnt", torrentName)); err != nil {
		return "", fail(Data, "%w", err)
	}
	took := time.Since(started)
	if err := d.mount.stop(); err != nil {
		return "", err
	}
	if stopped, _ := d.mount.last("stopped"); stopped.number("downloaded") != 0 {
		return "", fail(Data, "%s were fetched although all was here", ui.FormatBytes(stopped.number("downloaded")))
	}
	return "every byte is right; " + speed(d.content.total, took) + ", hashing included", nil
}

// failReadsWith ends reads that block for ever when ctx ends: without its
// process the mount answers every read with an error.
func (d *demo) failReadsWith(ctx context.Context) (undo func()) {
	stop := context.AfterFunc(ctx, d.mount.kill)
	return func() { stop() }
}

// cleanUp ends what still runs, the mount first, and removes the files.
func (d *demo) cleanUp() error {
	started := time.Now()
	const what = "clean up"
	d.screen.Begin(what)
	var errs []error
	for _, p := range []*process{d.mount, d.seeder, d.tracker} {
		errs = append(errs, p.stop())
	}
	if mounted, err := d.opt.Mounted(d.path("mnt")); err == nil && mounted {
		errs = append(errs, errors.New("a mount was left"), d.opt.Unmount(context.Background(), d.path("mnt")))
	}
	result := "no mount, no process and no file is left"
	if d.opt.Keep {
		result = "no mount and no process is left; the files are in " + d.dir
	} else {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	err := errors.Join(errs...)
	d.screen.End(what, time.Since(started), result, err)
	if err != nil {
		return fmt.Errorf("demo: clean up: %w", err)
	}
	return nil
}

// speed is bytes over time, for people.
func speed(n int64, d time.Duration) string {
	return ui.FormatRate(float64(n) / max(d.Seconds(), 1e-6))
}
