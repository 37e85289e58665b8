package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"torrentfs/cmd/torrentfs/internal/ui"
	"torrentfs/internal/version"
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
	Exclude []string `short:"x" sep:"none" placeholder:"PATTERN" help:"Leave out files and directories of this name, such as '*.tmp' or .git; with a slash in it, of this path below the directory. May be repeated."`
}

// Validate checks what the types of the flags do not.
func (o *createCmd) Validate() error {
	if n := int64(o.PieceLength); n != 0 && (n < metainfo.BlockSize || n > metainfo.DefaultPieceLength || n%metainfo.BlockSize != 0) {
		return fmt.Errorf("--piece-length: want a multiple of %s up to %s, as a rule a power of two, got %s",
			size(metainfo.BlockSize), size(metainfo.DefaultPieceLength), o.PieceLength)
	}
	for _, tier := range o.Tracker {
		for t := range strings.SplitSeq(tier, ",") {
			if !isURLOf(t, "http", "https", "udp", "ws", "wss") {
				return fmt.Errorf("--tracker: want a URL such as http://HOST:6969/announce or udp://HOST:6969, got %s", clipped(t))
			}
		}
	}
	for _, w := range o.WebSeed {
		if !isURLOf(w, "http", "https", "ftp") {
			return fmt.Errorf("--web-seed: want a URL such as http://HOST/PATH, got %s", clipped(w))
		}
	}
	for _, n := range o.Node {
		if err := new(peerAddr).UnmarshalText([]byte(n)); err != nil {
			return fmt.Errorf("--node: %w", err)
		}
	}
	for _, p := range o.Exclude {
		if _, err := path.Match(p, ""); err != nil || strings.Trim(p, "/") == "" {
			return fmt.Errorf("--exclude: %q is no pattern: want one such as '*.tmp'", p)
		}
	}
	return nil
}

// isURLOf reports whether s is a URL of one of the schemes, with a host.
func isURLOf(s string, schemes ...string) bool {
	u, err := url.Parse(s)
	return err == nil && slices.Contains(schemes, strings.ToLower(u.Scheme)) && u.Hostname() != ""
}

// clipped quotes the beginning of a URL: the rest may be a secret.
func clipped(s string) string {
	if len(s) > 12 {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:12], "?"))
	}
	return strconv.Quote(s)
}

// Help is the text below the summary.
func (createCmd) Help() string {
	return `A torrent of a directory holds its files in the order of their names, links as links; special files and empty
directories are left out, which is said.
Equal content and options give equal info-hashes, whatever the machine.

The default is v1, because every client can take it: some that are in wide use refuse hybrids or get their info-hash
wrong. --hybrid serves both worlds at the price of padding between files; --v2 has hashes for each block and needs a
client of today.`
}

// Run hashes the files and writes the torrent.
func (o *createCmd) Run(ctx context.Context, a *app) error {
	abs, err := filepath.Abs(o.Path)
	switch {
	case o.Path == "":
		return fail(exitUsage, "name a file or a directory", "create torrent: the name of what it is to hold is empty")
	case err != nil:
		return fail(exitDisk, "", "create torrent: %w", err)
	}
	output := o.Output
	if output == "" {
		output = filepath.Base(abs) + ".torrent"
	}
	if err := mayWrite("create torrent", output, o.Force); err != nil {
		return err
	}
	spec, err := o.spec(a, abs, output)
	if err != nil {
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
	if err := writeTorrent(output, data); err != nil {
		return err
	}
	return summarize(a, output, data)
}

func (o *createCmd) spec(a *app, abs, output string) (metainfo.CreateSpec, error) {
	spec := metainfo.CreateSpec{
		Name:        filepath.Base(abs),
		PieceLength: int64(o.PieceLength),
		Align:       o.Align,
		WebSeeds:    o.WebSeed,
		Nodes:       o.Node,
		Comment:     o.Comment,
		Source:      o.Source,
		CreatedBy:   "torrentfs " + version.String(),
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
	found, err := findSources(abs, o.Exclude, output)
	if err != nil {
		return spec, o.sourceFailure(err)
	}
	found.warn(a, output)
	spec.Files = found.files
	switch {
	case len(spec.Files) == 0 && found.excluded > 0:
		return spec, fail(exitUsage, "exclude less", "create torrent: --exclude leaves no file of %s", o.Path)
	case len(spec.Files) == 0:
		return spec, fail(exitUsage, "put a file into it", "create torrent: %s has no files", o.Path)
	case len(spec.Files[0].Path) == 0 && sameFile(abs, output):
		return spec, fail(exitUsage, "choose another name with -o", "create torrent: %s is the file that it is to hold", output)
	}
	return spec, nil
}

// sourceFailure says what to do if the content cannot be read.
func (o *createCmd) sourceFailure(err error) error {
	hint := ""
	var pe *fs.PathError
	switch {
	case errors.Is(err, errNoFile):
		return fail(exitDisk, "name what a torrent can hold", "create torrent: %s is %w", o.Path, err)
	case errors.Is(err, fs.ErrNotExist):
		hint = "check the name"
	case errors.Is(err, fs.ErrPermission):
		hint = "make it readable, or leave it out with --exclude"
	}
	if errors.As(err, &pe) && pe.Op != "open" { // of what was asked of a name only the cause counts
		return fail(exitDisk, hint, "create torrent: %s: %w", pe.Path, pe.Err)
	}
	return fail(exitDisk, hint, "create torrent: %w", err)
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

func (o *createCmd) hash(ctx context.Context, a *app, spec metainfo.CreateSpec) ([]byte, error) {
	var total int64
	for _, f := range spec.Files {
		total += f.Length
	}
	bar := a.term.ShowBar("hashing "+spec.Name, total, ui.NoNote)
	defer bar.End()
	spec.Progress = func(done, _ int64) { bar.Set(done) }
	data, err := metainfo.Create(ctx, spec)
	switch {
	case err == nil:
		return data, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, metainfo.ErrSpec):
		return nil, fail(exitUsage, "", "%w", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fail(exitDisk, "make it readable, or leave it out with --exclude", "%w", err)
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
	_, err = fmt.Fprintf(a.stdout, "%s: %s, %s in %s, %s of %s\n%s\n", ui.Printable(output), d.Version, ui.FormatBytes(d.TotalLength),
		ui.Plural(len(d.Files), "file"), ui.Plural(d.Pieces, "piece"), ui.FormatBytes(d.PieceLength), d.Magnet)
	return err
}
