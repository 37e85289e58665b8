package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Our extension ids in the recipes' extended handshake.
const (
	recipePEX        = 1
	recipeMetadata   = 2
	recipeUploadOnly = 3
)

// laxer lists the samples on which libtorrent closes and this package does not,
// with the reason.
var laxer = map[string]string{
	"seq_upload_only_then_request": "not malformed: whether such a peer is of use is the engine's decision",
	"unknown_ext_5":                "well formed: only the engine knows which ids it gave out, and BEP 10 names no penalty",
	"unknown_ext_9":                "as above",
	"unknown_ext_10":               "as above",
	"unknown_ext_100":              "as above",
	"unknown_ext_127":              "as above",
	"unknown_ext_255":              "as above",
}

// sample is one wire sample and what libtorrent 2.0.8 did on it.
type sample struct {
	name   string
	data   []byte
	closed bool
}

// samples returns those of a kind (a folder below torrents/wire).
func samples(tb testing.TB, kind string) []sample {
	tb.Helper()
	dir := filepath.Join(testdata(tb), "torrents")
	index, err := os.Open(filepath.Join(dir, "INDEX.tsv"))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = index.Close() }()
	var all []sample
	lines := bufio.NewScanner(index)
	lines.Buffer(nil, 1<<20)
	column := -1
	for lines.Scan() {
		cells := strings.Split(lines.Text(), "\t")
		if column < 0 {
			for i, c := range cells {
				if c == "source_test" {
					column = i
				}
			}
			continue
		}
		name, ok := strings.CutPrefix(cells[0], "wire/"+kind+"/")
		if !ok {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(cells[0])))
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, sample{strings.TrimSuffix(name, ".bin"), data, strings.Contains(cells[column], " closes")})
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	if len(all) == 0 {
		tb.Fatalf("no samples of kind %s", kind)
	}
	return all
}

// recipe turns a peer_conn sample into a stream of messages and the limits of
// the torrent that it was written for.
func recipe(tb testing.TB, data []byte) ([]byte, Limits) {
	tb.Helper()
	if len(data) < 8 {
		tb.Fatalf("recipe of %d bytes", len(data))
	}
	h := Handshake{Reserved: [8]byte(data)}
	lim := Limits{Pieces: 100, PieceLength: 1 << 20, Features: h.Features()}
	if data[0]&1 == 0 { // met under the v2 info-hash
		lim.Features |= FeatureV2
	}
	var out []byte
	for data = data[8:]; len(data) >= 3; {
		n := int(binary.BigEndian.Uint16(data[1:]))
		body := data[3:min(len(data), 3+n)]
		out = append(appendPrefix(out, ID(data[0]), len(body)), body...)
		data = data[3+len(body):]
	}
	return out, lim
}

// run decodes all of a stream, bodies of extension messages too.
func run(r *Reader, pieces int) error {
	var m Message
	block := make([]byte, MaxBlock)
	for {
		err := r.Next(&m)
		if err != nil {
			return err
		}
		switch {
		case m.ID == Piece:
			err = r.ReadBlock(block[:m.Length])
		case m.ID != Extended:
		case m.ExtID == 0:
			_, err = ParseExtHandshake(m.Payload)
		case m.ExtID == recipePEX:
			_, err = ParsePEX(m.Payload)
		case m.ExtID == recipeMetadata:
			_, err = ParseMetadata(m.Payload)
		case m.ExtID == recipeUploadOnly: // not one that we ask for
		case len(m.Payload) == 4:
			_, _ = ParseDontHave(m.Payload, pieces)
		}
		if err != nil {
			return fmt.Errorf("%v: %w", m.ID, err)
		}
	}
}

func TestPeerConnSamples(t *testing.T) {
	for _, s := range samples(t, "peer_conn") {
		t.Run(s.name, func(t *testing.T) {
			in, lim := recipe(t, s.data)
			err := run(NewReader(&stream{data: in}, lim), lim.Pieces)
			if err != io.EOF && !errors.Is(err, ErrProtocol) {
				t.Fatalf("ended with %v: neither the stream's end nor a protocol violation", err)
			}
			why, listed := laxer[s.name]
			lax := s.closed && err == io.EOF
			if lax && !listed {
				t.Errorf("libtorrent closes, this package reads on")
			}
			if listed && !lax {
				t.Errorf("listed as laxer (%s), but it is not: %v", why, err)
			}
		})
	}
}

func TestMetadataSamples(t *testing.T) {
	for _, s := range samples(t, "ut_metadata") {
		if _, err := ParseMetadata(s.data); s.closed && err == nil {
			t.Errorf("%s: accepted, libtorrent closes", s.name)
		}
	}
}

func TestPEXSamples(t *testing.T) {
	for _, s := range samples(t, "ut_pex") {
		p, err := ParsePEX(s.data)
		if s.closed != (err != nil) {
			t.Errorf("%s: error %v, libtorrent closes: %v", s.name, err, s.closed)
		}
		if len(p.Added) > MaxPEX || len(p.Dropped) > MaxPEX {
			t.Errorf("%s: %d added, %d dropped", s.name, len(p.Added), len(p.Dropped))
		}
	}
}
