package conn

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"torrentfs/internal/simnet"
	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
	"torrentfs/swarm/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

// geometry is that of a torrent of one file.
func geometry(t testing.TB, size, pieceLength int64) *metainfo.Geometry {
	t.Helper()
	pieces := (size + pieceLength - 1) / pieceLength
	b, err := bencode.Encode(map[string]any{
		"name": "file", "piece length": pieceLength, "length": size, "pieces": strings.Repeat("h", int(20*pieces)),
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := metainfo.ParseInfo(b, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return &info.Geometry
}

// hello is a handshake with the extensions that all of today's clients have.
func hello(name byte) wire.Handshake {
	return wire.NewHandshake([20]byte{1}, [20]byte{name}, wire.FeatureFast|wire.FeatureExtension)
}

// link makes the two ends of a connection of a network in memory. Ours is a Conn.
func link(t testing.TB, l simnet.Link) (*Conn, net.Conn) {
	t.Helper()
	n := simnet.New(1)
	t.Cleanup(n.Close)
	us, them := n.Host("10.0.0.1", l), n.Host("10.0.1.1", simnet.Link{})
	listener, err := them.Listen("tcp", ":6881")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	nc, err := us.DialContext(t.Context(), "tcp", "10.0.1.1:6881")
	if err != nil {
		t.Fatal(err)
	}
	other, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return New(nc, hello(2)), other
}

// memory is a Source. The bytes at off are pattern(off).
type memory struct {
	geometry *metainfo.Geometry
	file     *os.File // Section is of it; nil: ReadAt alone
	mu       sync.Mutex
	lost     map[metainfo.Piece]bool
	reads    int
}

func pattern(off int64) byte { return byte(off ^ off>>8 ^ off>>16) }

func fill(p []byte, off int64) {
	for i := range p {
		p[i] = pattern(off + int64(i))
	}
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if m.lost[m.geometry.PieceOf(off)] {
		return 0, io.ErrUnexpectedEOF
	}
	fill(p, off)
	return len(p), nil
}

func (m *memory) Section(off int64, _ int) (*os.File, int64, bool) { return m.file, off, m.file != nil }

// read decodes what the Conn sends to the other end, until the stream ends or has been read for d.
func read(nc net.Conn, lim wire.Limits, d time.Duration) (all []string) {
	r := wire.NewReader(nc, lim)
	nc.SetReadDeadline(time.Now().Add(d))
	var m wire.Message
	for {
		if r.Next(&m) != nil {
			return all
		}
		switch m.ID {
		case wire.Piece:
			data, right := make([]byte, m.Length), true
			if r.ReadBlock(data) != nil {
				return all
			}
			off := int64(m.Piece)*lim.PieceLength + int64(m.Begin)
			for i, b := range data {
				right = right && b == pattern(off+int64(i))
			}
			all = append(all, fmt.Sprintf("piece %d+%d %d %v", m.Piece, m.Begin, m.Length, right))
		case wire.Have, wire.Request, wire.Reject:
			all = append(all, fmt.Sprintf("%v %d+%d %d", m.ID, m.Piece, m.Begin, m.Length))
		default:
			all = append(all, m.ID.String())
		}
	}
}
