package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"torrentfs/cmd/torrentfs/internal/ui"
	"torrentfs/internal/safetext"
	"torrentfs/metainfo"
)

type infoCmd struct {
	Torrent string       `arg:"" help:"A .torrent file or its URL, a magnet link or an info-hash; - is standard input." complete:"torrent"`
	Network networkFlags `embed:""`
	JSON    bool         `name:"json" help:"Print one JSON object."`
	Save    string       `placeholder:"FILE" complete:"torrent" help:"Also write the .torrent to FILE; to - instead of what is in it."`
	Force   bool         `short:"f" help:"Let --save replace a file."`
}

// Help is the text below the summary.
func (infoCmd) Help() string {
	return `Paths are shown as a mount would show them: names that are unsafe or taken twice are changed, padding is left
out. With --json the object holds name, info_hash_v1 and info_hash_v2 (hex; absent where the torrent has none),
piece_length, total_length (bytes of real files) and files, a list of {"path", "length"}, besides what else the torrent
says of itself.

Of a magnet link or an info-hash whose metadata an earlier mount or download has found, that is shown, and --save makes
a .torrent of it; otherwise what the link says. Nobody is asked.`
}

// Run prints what is in a torrent.
func (o *infoCmd) Run(ctx context.Context, a *app) error {
	ref, err := a.loadSource(ctx, o.Network, o.Torrent)
	if err != nil {
		return err
	}
	mi, err := knownMetadata(ref)
	if errors.Is(err, errUnknownMetadata) && o.Save == "" {
		a.log.Info("what is in it is not known yet: a mount or download finds that out and keeps it")
		return o.printLink(a, ref.Magnet)
	}
	if err != nil {
		return err
	}
	if o.Save != "" {
		if err := o.save(a, mi); err != nil || o.Save == "-" {
			return err
		}
	}
	if o.JSON {
		return printJSON(a.stdout, describe(mi))
	}
	return printInfo(a.stdout, mi)
}

// save writes the torrent as a file.
func (o *infoCmd) save(a *app, mi *metainfo.MetaInfo) error {
	data, err := mi.Encode()
	if err != nil {
		return fail(exitTorrent, "", "save torrent: %w", err)
	}
	if lacksLayers(mi) {
		a.log.Warn("the piece layers of this v2 torrent are not known: other clients may refuse the file")
	}
	if o.Save == "-" {
		_, err := a.stdout.Write(data)
		return err
	}
	if err := mayWrite("save torrent", o.Save, o.Force); err != nil {
		return err
	}
	return writeTorrent(o.Save, data)
}

// lacksLayers reports whether a v2 torrent is without the hashes of a file's
// pieces, which peers send and links do not.
func lacksLayers(mi *metainfo.MetaInfo) bool {
	return mi.Info.Hash.HasV2 && slices.ContainsFunc(mi.Info.Files, func(f metainfo.File) bool {
		return f.Length > mi.Info.PieceLength() && mi.PieceLayers[f.PiecesRoot] == nil
	})
}

// description is the object that info --json prints. Fields may be added;
// none is renamed.
type description struct {
	Name        string            `json:"name"`
	Version     string            `json:"version"` // v1, v2 or hybrid
	InfoHashV1  string            `json:"info_hash_v1,omitempty"`
	InfoHashV2  string            `json:"info_hash_v2,omitempty"`
	PieceLength int64             `json:"piece_length"`
	Pieces      int               `json:"pieces"`
	TotalLength int64             `json:"total_length"`
	Private     bool              `json:"private"`
	SingleFile  bool              `json:"single_file"`
	Files       []fileDescription `json:"files"`
	Trackers    [][]string        `json:"trackers,omitempty"`
	WebSeeds    []string          `json:"web_seeds,omitempty"`
	HTTPSeeds   []string          `json:"http_seeds,omitempty"`
	Nodes       []string          `json:"nodes,omitempty"`
	Comment     string            `json:"comment,omitempty"`
	CreatedBy   string            `json:"created_by,omitempty"`
	Created     *time.Time        `json:"created,omitempty"`
	Magnet      string            `json:"magnet"`
}

type fileDescription struct {
	Path       string `json:"path"`
	Length     int64  `json:"length"`
	Executable bool   `json:"executable,omitempty"`
	Hidden     bool   `json:"hidden,omitempty"`
	Symlink    string `json:"symlink,omitempty"` // where it points
}

func describe(mi *metainfo.MetaInfo) description {
	info := mi.Info
	d := description{
		Name:        info.Name,
		Version:     torrentVersion(info.Hash),
		PieceLength: info.PieceLength(),
		Pieces:      info.NumPieces(),
		TotalLength: info.TotalLength(),
		Private:     info.Private,
		SingleFile:  info.Single,
		Files:       []fileDescription{},
		Trackers:    mi.Trackers,
		WebSeeds:    mi.WebSeeds,
		HTTPSeeds:   mi.HTTPSeeds,
		Nodes:       mi.Nodes,
		Comment:     mi.Comment,
		CreatedBy:   mi.CreatedBy,
		Magnet:      mi.Magnet().String(),
	}
	if info.Hash.HasV1 {
		d.InfoHashV1 = hex.EncodeToString(info.Hash.V1[:])
	}
	if info.Hash.HasV2 {
		d.InfoHashV2 = hex.EncodeToString(info.Hash.V2[:])
	}
	if !mi.Created.IsZero() {
		created := mi.Created.UTC()
		d.Created = &created
	}
	for _, f := range info.Files {
		if !f.Omit {
			d.Files = append(d.Files, fileDescription{f.Path, f.Length, f.Executable, f.Hidden, f.Symlink})
		}
	}
	return d
}

func torrentVersion(h metainfo.InfoHash) string {
	switch {
	case h.HasV1 && h.HasV2:
		return "hybrid"
	case h.HasV2:
		return "v2"
	}
	return "v1"
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(safetext.JSONWriter(w))
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printInfo is for people: a table of facts, then the files.
func printInfo(w io.Writer, mi *metainfo.MetaInfo) error {
	d := describe(mi)
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s %s\n", name, ui.Printable(fmt.Sprintf(format, args...)))
	}
	row("name", "%s", d.Name)
	if d.InfoHashV1 != "" {
		row("info-hash v1", "%s", d.InfoHashV1)
	}
	if d.InfoHashV2 != "" {
		row("info-hash v2", "%s", d.InfoHashV2)
	}
	row("size", "%s (%d bytes) in %s", ui.FormatBytes(d.TotalLength), d.TotalLength, ui.Plural(len(d.Files), "file"))
	row("pieces", "%s of %s", ui.Plural(d.Pieces, "piece"), ui.FormatBytes(d.PieceLength))
	if d.Private {
		row("private", "peers from its trackers only")
	}
	for i, tier := range d.Trackers {
		row(fmt.Sprintf("tracker %d", i+1), "%s", strings.Join(tier, "  "))
	}
	for _, seed := range d.WebSeeds {
		row("web seed", "%s", seed)
	}
	for _, seed := range d.HTTPSeeds {
		row("http seed", "%s", seed)
	}
	for _, node := range d.Nodes {
		row("dht node", "%s", node)
	}
	if d.Comment != "" {
		row("comment", "%s", d.Comment)
	}
	if d.CreatedBy != "" {
		row("created by", "%s", d.CreatedBy)
	}
	if d.Created != nil {
		row("created", "%s", d.Created.Format(time.DateTime+" MST"))
	}
	row("magnet", "%s", d.Magnet)
	b.WriteString("\n")
	for _, f := range d.Files {
		line := f.Path
		if f.Symlink != "" {
			line += " -> " + f.Symlink
		}
		fmt.Fprintf(&b, "%10s  %s\n", ui.FormatBytes(f.Length), ui.Printable(line))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printLink prints what a magnet link says.
func (o *infoCmd) printLink(a *app, m *metainfo.Magnet) error {
	if o.JSON {
		return printJSON(a.stdout, describeMagnet(m))
	}
	return printMagnet(a.stdout, m)
}
