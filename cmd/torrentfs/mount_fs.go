package main

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"time"

	"torrentfs/fs"
	"torrentfs/library"
)

// fsFlags are the flags of a mount that shape the file system.
type fsFlags struct {
	AllowOther         bool                `group:"fs" help:"Let other users read the mount (needs user_allow_other in /etc/fuse.conf)."`
	OnUnavailable      library.Unavailable `group:"fs" default:"block" placeholder:"POLICY" values:"block,timeout,eio" help:"What a read does whose data does not come: block waits, timeout fails after --unavailable-timeout, eio fails as soon as nobody within reach has it."`
	UnavailableTimeout time.Duration       `group:"fs" default:"30s" placeholder:"TIME" help:"How long a read waits with --on-unavailable=timeout."`
	DenyReaders        []string            `group:"fs" default:"default" placeholder:"LIST" help:"Programs that may not open files which are still incomplete, separated by commas: default is a list of indexers and thumbnailers, none lets everybody in."`
	NoPassthrough      bool                `group:"fs" help:"Serve complete files through this process, where the kernel could read them itself."`
	SetXattr           bool                `group:"fs" help:"Let setfattr(1) change user.torrent.on_unavailable of a file or directory; the kernel then shows the mount as writable, which it is not."`
	FSName             string              `group:"fs" name:"fsname" placeholder:"NAME" help:"What the mount table names as the source; by default torrent: and the torrent's name, which df and others take for a remote one."`
	UID                ownerID             `group:"fs" name:"uid" placeholder:"ID" help:"Owner of all files by number; by default whoever mounts."`
	GID                ownerID             `group:"fs" name:"gid" placeholder:"ID" help:"Group of all files by number; by default that of whoever mounts."`
	Umask              umask               `group:"fs" default:"0" placeholder:"OCTAL" help:"Bits to take away from the modes 0644 and 0755."`
}

// Validate checks what the types of the flags do not.
func (f fsFlags) Validate() error {
	if f.UnavailableTimeout <= 0 {
		return fmt.Errorf("--unavailable-timeout: want a time above zero, got %s", f.UnavailableTimeout)
	}
	return nil
}

// ownerID is the number of a user or group, if one is given.
type ownerID struct {
	id    uint32
	given bool
}

// UnmarshalText parses a number. That of all ones means nobody to the kernel.
func (o *ownerID) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil || n == 1<<32-1 {
		return fmt.Errorf("want the number of a user or group, such as 1000, got %q", text)
	}
	*o = ownerID{uint32(n), true}
	return nil
}

// or is the number, or if none is given the other one.
func (o ownerID) or(fallback int) uint32 {
	if !o.given {
		return uint32(fallback)
	}
	return o.id
}

// umask is a mask of mode bits in octal.
type umask os.FileMode

// UnmarshalText parses an octal number.
func (u *umask) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("parse umask %q: want an octal number up to 777", text)
	}
	*u = umask(n)
	return nil
}

// options are what the flags mean to package fs.
func (f fsFlags) options(name string, log *slog.Logger) fs.Options {
	if f.FSName != "" {
		name = f.FSName
	} else {
		name = "torrent:" + name
	}
	opt := fs.Options{
		FSName: name,
		Logger: log, AllowOther: f.AllowOther, SetXattr: f.SetXattr, Umask: os.FileMode(f.Umask),
		DenyReaders: f.denied(), NoPassthrough: f.NoPassthrough,
	}
	if f.UID.given || f.GID.given {
		opt.Owner = &fs.Owner{UID: f.UID.or(os.Geteuid()), GID: f.GID.or(os.Getegid())}
	}
	return opt
}

func (f fsFlags) denied() []string {
	var names []string
	for _, name := range f.DenyReaders {
		switch name {
		case "default":
			names = append(names, fs.DefaultDeniedReaders()...)
		case "none", "":
		default:
			names = append(names, name)
		}
	}
	return slices.Compact(names)
}

// unavailable is what the flags mean to package library.
func (f fsFlags) unavailable() library.OnUnavailable {
	return library.OnUnavailable{Policy: f.OnUnavailable, Timeout: f.UnavailableTimeout}
}
