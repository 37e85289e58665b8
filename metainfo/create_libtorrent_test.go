package metainfo

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// diskFile makes a SourceFile of a file below dir.
func diskFile(t *testing.T, dir, path string, data []byte) SourceFile {
	t.Helper()
	full := filepath.Join(dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return SourceFile{
		Path: strings.Split(path, "/"), Length: int64(len(data)),
		Open: func() (Content, error) { return os.Open(full) },
	}
}

// libtorrentScript hashes the same files with libtorrent and reads our
// torrents with it, and prints what it sees.
const libtorrentScript = `
import json, sys
import libtorrent as lt
req = json.load(sys.stdin)
C = lt.create_torrent
flags = {"v1": C.v1_only, "v2": C.v2_only, "hybrid": C.canonical_files_no_tail_padding}
out = {}
for version, path in req["torrents"].items():
    ti = lt.torrent_info(path)
    h, fs = ti.info_hashes(), ti.files()
    out[version] = {
        "v1": str(h.v1) if h.has_v1() else "", "v2": str(h.v2) if h.has_v2() else "",
        "files": sorted([[fs.file_path(i), fs.file_size(i)] for i in range(fs.num_files())
            if not int(fs.file_flags(i)) & int(lt.file_flags_t.flag_pad_file)]),
    }
    own = lt.file_storage()
    for name, size in req["files"]:
        own.add_file(name, size)
    t = lt.create_torrent(own, req["piece_length"], flags=flags[version])
    lt.set_piece_hashes(t, req["dir"])
    h = lt.torrent_info(t.generate()).info_hashes()
    out[version]["own_v1"] = str(h.v1) if h.has_v1() else ""
    out[version]["own_v2"] = str(h.v2) if h.has_v2() else ""
json.dump(out, sys.stdout)
`

// libtorrent must load what Create makes, with the same hashes, names and
// sizes, and must itself make a torrent with the same info-hash of the files.
func TestCreateAgainstLibtorrent(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import libtorrent").Run(); err != nil {
		t.Skipf("python3 with libtorrent is not installed: %v", err)
	}
	dir := t.TempDir()
	var files []SourceFile
	var names [][]any
	for _, i := range []int{4, 2, 0, 1, 3, 5, 7, 6} { // v1 torrents of libtorrent keep the order given
		s := sampleFiles[i]
		files = append(files, diskFile(t, filepath.Join(dir, "sample"), s.path, content(s.path, s.n)))
		names = append(names, []any{"sample/" + s.path, s.n})
	}
	const pieceLength = 32768
	torrents, infos := map[string]string{}, map[string]*Info{}
	for _, v := range []Version{V1, V2, Hybrid} {
		data, err := Create(context.Background(), CreateSpec{Name: "sample", Files: files, Version: v, PieceLength: pieceLength})
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(data, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		torrents[v.String()], infos[v.String()] = filepath.Join(dir, v.String()+".torrent"), m.Info
		if err := os.WriteFile(torrents[v.String()], data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	req, err := json.Marshal(map[string]any{"torrents": torrents, "files": names, "piece_length": pieceLength, "dir": dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-c", libtorrentScript)
	cmd.Stdin = bytes.NewReader(req)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var got map[string]struct {
		V1, V2 string
		OwnV1  string `json:"own_v1"`
		OwnV2  string `json:"own_v2"`
		Files  [][]any
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	for version, info := range infos {
		g := got[version]
		v1, v2 := "", ""
		if info.Hash.HasV1 {
			v1 = info.Hash.V1.String()
		}
		if info.Hash.HasV2 {
			v2 = info.Hash.V2.String()
		}
		if g.V1 != v1 || g.V2 != v2 {
			t.Errorf("%s: libtorrent reads info-hashes %s %s, we wrote %s %s", version, g.V1, g.V2, v1, v2)
		}
		if g.OwnV1 != v1 || g.OwnV2 != v2 {
			t.Errorf("%s: libtorrent makes info-hashes %s %s, we %s %s", version, g.OwnV1, g.OwnV2, v1, v2)
		}
		if len(g.Files) != len(names) {
			t.Errorf("%s: libtorrent sees %v", version, g.Files)
		}
		sizes := map[string]float64{}
		for _, f := range g.Files {
			sizes[f[0].(string)] = f[1].(float64)
		}
		for _, n := range names {
			if size, ok := sizes[n[0].(string)]; !ok || size != float64(n[1].(int)) {
				t.Errorf("%s: libtorrent misses %v", version, n)
			}
		}
	}
}
