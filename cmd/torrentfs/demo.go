package main

import (
	"context"
	"errors"

	"torrentfs/cmd/torrentfs/internal/demo"
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

// Run shows every step and cleans up.
func (o *demoCmd) Run(ctx context.Context, a *app) error {
	if o.Size < demo.Minimum {
		return fail(exitUsage, "", "demo: want a --size of at least %s", size(demo.Minimum))
	}
	err := demo.Run(ctx, demo.Options{
		Name: a.args[0], Out: a.stdout,
		Size: int64(o.Size), Rate: int64(o.Rate), V2: o.V2, Hybrid: o.Hybrid, Keep: o.Keep,
		Mounted: isOurMount,
		Unmount: func(ctx context.Context, dir string) error {
			ctx, cancel := context.WithTimeout(ctx, unmountTimeout)
			defer cancel()
			return unmount(ctx, dir, true)
		},
	})
	return demoFailure(err)
}

// demoFailure is a failed demonstration with the exit code that belongs to it.
func demoFailure(err error) error {
	var failed *demo.Error
	if !errors.As(err, &failed) {
		return err
	}
	code := exitGeneral
	switch failed.Kind {
	case demo.Disk:
		code = exitDisk
	case demo.Data:
		code = exitVerify
	case demo.Mount:
		code = exitMount
	case demo.Program:
		if code = exitCode(failed.Code); code == exitOK {
			code = exitGeneral
		}
	}
	return &failure{code: code, err: err}
}
