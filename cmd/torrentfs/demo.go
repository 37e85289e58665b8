package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"torrentfs/cmd/torrentfs/internal/ui"
)

type demoCmd struct {
	Size   size `default:"128MiB" placeholder:"SIZE" help:"How much data to make; three times as much space is used for a while."`
	Rate   rate `default:"40MiB/s" placeholder:"RATE" help:"What the seeder is held to, so that there is something to see; off for full speed."`
	V2     bool `name:"v2" xor:"version" help:"With a v2 torrent."`
	Hybrid bool `xor:"version" help:"With a hybrid torrent, of v1 and v2."`
	Keep   bool `help:"Leave the files for a look afterwards."`
}

// Help is the text below the summary.
func (demoCmd) Help() string {
	return `Starts a tracker and a seeder on the loopback interface, mounts the torrent, reads through the mount while it
downloads, compares every byte, lets a second client download from the mount alone, unmounts, and mounts again with
nobody to ask. Nothing leaves this machine, and nothing is left behind. The exit code is 0 only if every step went well.`
}

// demoStepTimeout bounds each step: a demo that hangs shows nothing.
const demoStepTimeout = 2 * time.Minute

// demo is one run of the demonstration. Its programs are processes of their
// own, started with the very command lines that a user would type.
type demo struct {
	app    *app
	opt    *demoCmd
	screen *ui.Steps
	self   string // our executable
	dir    string // holds everything

	content  *demoContent
	tracker  *demoProcess
	seeder   *demoProcess
	mount    *demoProcess
	announce string // URL of the tracker
}

// Run shows every step and cleans up.
func (o *demoCmd) Run(ctx context.Context, a *app) (err error) {
	if o.Size < demoMinimum {
		return fail(exitUsage, "", "demo: want a --size of at least %s", size(demoMinimum))
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("demo: find own program: %w", err)
	}
	dir, err := os.MkdirTemp("", "torrentfs-demo-")
	if err != nil {
		return fail(exitDisk, "", "demo: %w", err)
	}
	d := &demo{app: a, opt: o, self: self, dir: dir, screen: ui.NewSteps(a.stdout)}
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
	ctx, cancel := context.WithTimeoutCause(ctx, demoStepTimeout, fmt.Errorf("no end after %s", demoStepTimeout))
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
	code := codeOf(err)
	return fail(code, "", "demo: %s: %w", what, err)
}

func (d *demo) path(elem ...string) string { return filepath.Join(append([]string{d.dir}, elem...)...) }

func (d *demo) makeData(context.Context) (string, error) {
	var err error
	d.content, err = makeDemoContent(d.path("seed"), int64(d.opt.Size))
	if err != nil {
		return "", fail(exitDisk, "", "%w", err)
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
	args := []string{"create", d.path("seed", demoName), "--tracker", d.announce, "-o", d.torrent()}
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
		args = append(args, "--max-upload-rate", fmt.Sprint(int64(d.opt.Rate)))
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

func (d *demo) torrent() string { return d.path(demoName + ".torrent") }

func (d *demo) startMount(ctx context.Context) (string, error) {
	if err := os.MkdirAll(d.path("mnt"), 0o755); err != nil {
		return "", fail(exitDisk, "", "%w", err)
	}
	if err := d.runMount(ctx); err != nil {
		return "", err
	}
	if err := d.content.list(d.path("mnt", demoName)); err != nil {
		return "", fail(exitVerify, "", "%w", err)
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
	n, err := d.content.compareMiddle(d.path("mnt", demoName), d.path("seed", demoName))
	if err != nil {
		return "", fail(exitVerify, "", "%w", err)
	}
	took := time.Since(started)
	status, err := d.mount.next(ctx, "status")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s of %s after %d ms; of the torrent, %s was here", ui.FormatBytes(int64(n)), demoLarge,
		took.Milliseconds(), ui.Percent(status.number("verified"), status.number("total"))), nil
}

func (d *demo) readAll(ctx context.Context) (string, error) {
	defer d.failReadsWith(ctx)()
	started := time.Now()
	if err := d.content.compare(d.path("mnt", demoName)); err != nil {
		return "", fail(exitVerify, "", "%w", err)
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
	if mounted, err := isOurMount(d.path("mnt")); err != nil || mounted {
		return "", fail(exitMount, "", "the mount is still there (%w)", err)
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
		return "", fail(exitVerify, "", "%s of %s found again", ui.FormatBytes(status.number("verified")), ui.FormatBytes(d.content.total))
	}
	return fmt.Sprintf("ready in %d ms, 100%% found without hashing", took.Milliseconds()), nil
}

func (d *demo) readAgain(ctx context.Context) (string, error) {
	defer d.failReadsWith(ctx)()
	started := time.Now()
	if err := d.content.compare(d.path("mnt", demoName)); err != nil {
		return "", fail(exitVerify, "", "%w", err)
	}
	took := time.Since(started)
	if err := d.mount.stop(); err != nil {
		return "", err
	}
	if stopped, _ := d.mount.last("stopped"); stopped.number("downloaded") != 0 {
		return "", fail(exitVerify, "", "%s were fetched although all was here", ui.FormatBytes(stopped.number("downloaded")))
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
	for _, p := range []*demoProcess{d.mount, d.seeder, d.tracker} {
		errs = append(errs, p.stop())
	}
	if mounted, err := isOurMount(d.path("mnt")); err == nil && mounted {
		ctx, cancel := context.WithTimeout(context.Background(), unmountTimeout)
		defer cancel()
		errs = append(errs, errors.New("a mount was left"), unmount(ctx, d.path("mnt"), true))
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
