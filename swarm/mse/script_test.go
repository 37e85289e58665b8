package mse

import (
	"bytes"
	"crypto/rc4"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scriptConn delivers what the other side says, known beforehand, and keeps
// what is said to it.
type scriptConn struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func script(in []byte) *scriptConn                { return &scriptConn{in: bytes.NewReader(in)} }
func (c *scriptConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *scriptConn) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *scriptConn) SetDeadline(time.Time) error { return nil }

// testRand is a source of keys and pads that can be had twice.
func testRand(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// testKey is the info-hash of the scripts.
var testKey = [20]byte([]byte("an info-hash to test"))

func findTestKey(id [20]byte) ([20]byte, bool) {
	return Candidates(func(yield func([20]byte) bool) { yield(testKey) })(id)
}

const (
	usSeed   = 1
	peerSeed = 2
)

// says is what a peer sends, field by field, so that each can be spoilt. The
// other side of the exchange is ours with testRand(usSeed).
type says struct {
	public []byte
	pad    []byte // PadA or PadB
	sync   []byte // req1; what the initiator finds is in vc
	id     []byte // req2 xor req3
	vc     []byte
	method uint32
	padLen uint16 // of PadC or PadD; as told
	pad2   []byte
	iaLen  uint16 // as told
	ia     []byte
	after  []byte // in the clear

	initiator bool
	out       *rc4.Cipher
	in        *rc4.Cipher
}

// peerSays is a faultless peer with empty pads.
func peerSays(tb testing.TB, initiator bool) *says {
	tb.Helper()
	peer, err := newExchange(nil, testRand(peerSeed))
	if err != nil {
		tb.Fatal(err)
	}
	us, err := newExchange(nil, testRand(usSeed))
	if err != nil {
		tb.Fatal(err)
	}
	if peer.secret, err = peer.keys.secret(&us.keys.public); err != nil {
		tb.Fatal(err)
	}
	sync, mask, id := hash("req1", peer.secret[:]), hash("req3", peer.secret[:]), KeyID(testKey)
	subtle.XORBytes(id[:], id[:], mask[:])
	s := &says{
		public: peer.keys.public[:], sync: sync[:], id: id[:], vc: make([]byte, vcLen),
		method: uint32(RC4 | Plaintext), initiator: initiator,
		out: peer.cipher("keyA", testKey), in: peer.cipher("keyB", testKey),
	}
	if !initiator {
		s.out, s.in = s.in, s.out
		s.method = uint32(RC4)
	}
	return s
}

func (s *says) bytes() []byte {
	b := append(bytes.Clone(s.public), s.pad...)
	if s.initiator {
		b = append(append(b, s.sync...), s.id...)
	}
	at := len(b)
	b = append(b, s.vc...)
	b = binary.BigEndian.AppendUint32(b, s.method)
	b = binary.BigEndian.AppendUint16(b, s.padLen)
	b = append(b, s.pad2...)
	if s.initiator {
		b = binary.BigEndian.AppendUint16(b, s.iaLen)
		b = append(b, s.ia...)
	}
	s.out.XORKeyStream(b[at:], b[at:])
	return append(b, s.after...)
}

// recipe applies a sample of the kind pe_conn: [PadA size][flags][PadC size /
// 2][IA size][PadA][IA]. It reports whether the handshake must succeed.
func (s *says) recipe(data []byte) (valid bool) {
	if len(data) < 4 {
		data = append(bytes.Clone(data), make([]byte, 4-len(data))...)
	}
	padA, flags, padC, ia := int(data[0]), data[1], 2*int(data[2]), int(data[3])
	data = data[4:]
	s.pad = append(s.pad, data[:min(padA, len(data))]...)
	data = data[len(s.pad):]
	s.ia = append(s.ia, data[:min(ia, len(data))]...)
	s.iaLen = uint16(len(s.ia))
	s.pad2, s.padLen = make([]byte, padC), uint16(padC)
	if flags&1 != 0 {
		s.sync[0] ^= 0xff
	}
	if flags&2 != 0 {
		s.id[0] ^= 0xff
	}
	if flags&4 != 0 {
		s.vc[0] ^= 0xff
	}
	s.method = [4]uint32{uint32(RC4 | Plaintext), uint32(Plaintext), uint32(RC4), 0}[flags>>3&3]
	return flags&7 == 0 && s.method != 0
}

// samples are the files of a kind (a folder below torrents/wire), by name.
func samples(tb testing.TB, kind string) map[string][]byte {
	tb.Helper()
	root := os.Getenv("TORRENTFS_TESTDATA")
	if root == "" {
		root = "../../../shared/testdata"
	}
	files, err := filepath.Glob(filepath.Join(root, "torrents/wire", kind, "*.bin"))
	if err != nil {
		tb.Fatal(err)
	}
	if len(files) == 0 {
		tb.Skipf("no samples of kind %s in %s: set TORRENTFS_TESTDATA", kind, root)
	}
	all := make(map[string][]byte)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		all[filepath.Base(f)] = data
	}
	return all
}

func isOneOf(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}
