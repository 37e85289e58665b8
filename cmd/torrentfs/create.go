package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"torrentfs/metainfo"
)

type createCmd struct {
	Path string `arg:"" help:"The file or directory." complete:"file"`

	Output      string `short:"o" placeholder:"FILE" complete:"file" help:"Where to write the torrent; - is standard output (default: NAME.torrent here)."`
	Force       bool   `short:"f" help:"Replace an existing torrent file."`
	V1          bool   `name:"v1" xor:"version" help:"Make a v1 torrent (the default)."`
	V2          bool   `name:"v2" xor:"version" help:"Make a v2 torrent."`
	Hybrid      bool   `xor:"version" help:"Make a torrent that is both."`
	PieceLength size   `short:"l" default:"0" placeholder:"SIZE" help:"Bytes of a piece, such as 256K; 0 chooses by the size of the content."`
	Align       bool   `help:"Let every file of a v1 torrent begin with a piece, by padding; v2 and hybrid do so anyway."`

	Tracker []string `short:"t" sep:"none" placeholder:"URL" help:"Tracker. May be repeated: each further one is a tier of its own; URLs joined by commas share a tier."`
	WebSeed []string `short:"w" sep:"none" placeholder:"URL" help:"HTTP or FTP address that serves the same files (BEP 19). May be repeated."`
	Node    []string `sep:"none" placeholder:"HOST:PORT" help:"DHT node to begin with (BEP 5). May be repeated."`
	Comment string   `short:"c" placeholder:"TEXT" help:"A comment for people."`
	Private bool     `short:"p" help:"Tell clients to take peers from the trackers only (BEP 27)."`
	Source  string   `placeholder:"TEXT" help:"A tag that gives the same content another info-hash, as private trackers want it."`
	NoDate  bool     `help:"Leave the creation date out."`
}

// Help is the text below the summary.
func (createCmd) Help() string {
	return `A torrent of a directory holds its files in the order of their names, links as links; special files are left out.
Equal content and options give equal info-hashes, whatever the machine.

The default is v1, because every client can take it: some that are in wide use refuse hybrids or get their info-hash
wrong. --hybrid serves both worlds at the price of padding between files; --v2 has hashes for each block and needs a
client of today.`
}

// Run hashes the files and writes the torrent.
func (o *createCmd) Run(ctx context.Context, a *app) error {
	spec, err := o.spec(a)
	if err != nil {
		return err
	}
	output := o.Output
	if output == "" {
		output = spec.Name + ".torrent"
	}
	if err := o.mayWrite(output); err != nil {
		return err
	}
	data, err := o.hash(ctx, a, spec)
	if err != nil {
		return err
	}
	if output == "-" {
		_, err := a.stdout.Write(data)
		return err
	}
	if err := renameio.WriteFile(output, data, 0o644); err != nil {
		return fail(exitDisk, "", "write torrent %s: %w", output, err)
	}
	return summarize(a, output, data)
}

func (o *createCmd) spec(a *app) (metainfo.CreateSpec, error) {
	abs, err := filepath.Abs(o.Path)
	if err != nil {
		return metainfo.CreateSpec{}, fail(exitDisk, "", "create torrent: %w", err)
	}
	spec := metainfo.CreateSpec{
		Name:        filepath.Base(abs),
		PieceLength: int64(o.PieceLength),
		Align:       o.Align,
		WebSeeds:    o.WebSeed,
		Nodes:       o.Node,
		Comment:     o.Comment,
		Source:      o.Source,
		CreatedBy:   "torrentfs " + version(),
		Private:     o.Private,
	}
	switch {
	case o.V2:
		spec.Version = metainfo.V2
	case o.Hybrid:
		spec.Version = metainfo.Hybrid
	}
	if !o.NoDate {
		spec.Created = time.Now().Truncate(time.Second)
	}
	for _, tier := range o.Tracker {
		spec.Trackers = append(spec.Trackers, strings.Split(tier, ","))
	}
	spec.Files, err = a.sourceFiles(abs)
	if err != nil {
		return spec, fail(exitDisk, "", "create torrent: %w", err)
	}
	if len(spec.Files) == 0 {
		return spec, fail(exitUsage, "put a file into it", "create torrent: %s has no files", o.Path)
	}
	return spec, nil
}

// sourceFiles lists what a torrent of path holds.
func (a *app) sourceFiles(path string) ([]metainfo.SourceFile, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Mode().IsRegular() {
		return []metainfo.SourceFile{sourceFile(path, nil, st)}, nil
	}
	if !st.IsDir() {
		return nil, fmt.Errorf("%s is neither a file nor a directory", path)
	}
	var files []metainfo.SourceFile
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(path, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel == stateDir {
				return fs.SkipDir
			}
			return nil
		}
		f, ok, err := listed(name, strings.Split(filepath.ToSlash(rel), "/"), d)
		if ok {
			files = append(files, f)
		} else if err == nil {
			a.log.Warn("leaving out a special file", "path", rel)
		}
		return err
	})
	return files, err
}

// stateDir is what a download leaves beside the data to find its way on; it is
// no part of the content.
const stateDir = ".torrentfs"

// listed makes the entry of a directory part of a torrent; ok is false for
// what a torrent cannot hold.
func listed(name string, path []string, d fs.DirEntry) (f metainfo.SourceFile, ok bool, err error) {
	switch {
	case d.Type() == fs.ModeSymlink:
		target, err := os.Readlink(name)
		return metainfo.SourceFile{Path: path, Symlink: filepath.ToSlash(target)}, err == nil, err
	case d.Type().IsRegular():
		st, err := d.Info()
		if err != nil {
			return f, false, err
		}
		return sourceFile(name, path, st), true, nil
	}
	return f, false, nil
}

func sourceFile(name string, path []string, st fs.FileInfo) metainfo.SourceFile {
	return metainfo.SourceFile{
		Path:       path,
		Length:     st.Size(),
		Executable: st.Mode()&0o111 != 0,
		Open:       func() (metainfo.Content, error) { return os.Open(name) },
	}
}

// mayWrite refuses to replace a torrent before hours of hashing, not after.
func (o *createCmd) mayWrite(output string) error {
	if output == "-" || o.Force {
		return nil
	}
	if _, err := os.Lstat(output); err == nil {
		return fail(exitUsage, "use --force to replace it, or -o for another name", "create torrent: %s exists", output)
	}
	return nil
}

func (o *createCmd) hash(ctx context.Context, a *app, spec metainfo.CreateSpec) ([]byte, error) {
	var total int64
	for _, f := range spec.Files {
		total += f.Length
	}
	bar := a.term.showBar("hashing "+spec.Name, total, silent)
	defer bar.clear()
	spec.Progress = func(done, _ int64) { bar.set(done) }
	data, err := metainfo.Create(ctx, spec)
	switch {
	case err == nil:
		return data, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, metainfo.ErrSpec):
		return nil, fail(exitUsage, "", "%w", err)
	}
	return nil, fail(exitDisk, "", "%w", err)
}

// summarize tells what was made, as read back from it.
func summarize(a *app, output string, data []byte) error {
	mi, err := metainfo.Read(bytes.NewReader(data), metainfo.Limits{Bytes: int64(len(data)) + 1})
	if err != nil {
		return fail(exitGeneral, "", "read back %s: %w", output, err)
	}
	d := describe(mi)
	_, err = fmt.Fprintf(a.stdout, "%s: %s, %s in %s, %s of %s\n%s\n", printable(output), d.Version, formatBytes(d.TotalLength),
		plural(len(d.Files), "file"), plural(d.Pieces, "piece"), formatBytes(d.PieceLength), d.Magnet)
	return err
}
