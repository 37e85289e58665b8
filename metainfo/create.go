package metainfo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"torrentfs/metainfo/bencode"
)

// Version is the set of formats of a new torrent.
type Version int

// The versions. V1 is what every client reads; a hybrid is both.
const (
	V1 Version = iota
	V2
	Hybrid
)

func (v Version) String() string {
	switch v {
	case V1:
		return "v1"
	case V2:
		return "v2"
	case Hybrid:
		return "hybrid"
	default:
		return "version " + strconv.Itoa(int(v))
	}
}

func (v Version) hasV1() bool { return v == V1 || v == Hybrid }
func (v Version) hasV2() bool { return v == V2 || v == Hybrid }

// Content is an open file of a new torrent.
type Content interface {
	io.ReaderAt
	io.Closer
}

// SourceFile is one file of a new torrent.
type SourceFile struct {
	Path       []string  // elements below the torrent's name; none for the one file of a single-file torrent
	Length     int64     // bytes; fewer at hashing time are an error
	ModTime    time.Time // written to the torrent unless zero
	Executable bool
	// Symlink is the target of a link, as the link has it: relative to the
	// link's directory. A target outside the torrent is an error.
	Symlink string
	// Open opens the content; it is called once, not for empty files and
	// links. ReadAt is called from several goroutines.
	Open func() (Content, error)
}

// CreateSpec describes a new torrent.
type CreateSpec struct {
	Name        string // of the file, or of the directory that holds the files
	Files       []SourceFile
	Version     Version
	PieceLength int64 // bytes; 0 chooses by the size of the content (AutoPieceLength)
	// Align puts pads into a v1 torrent so that each file begins on a piece
	// boundary. Hybrids always have them.
	Align     bool
	Trackers  [][]string // tiers
	WebSeeds  []string
	Nodes     []string // DHT nodes, "host:port" (BEP 5)
	Comment   string
	Source    string // tag that makes the info-hash differ from the same content elsewhere
	CreatedBy string
	Created   time.Time // left out if zero
	Private   bool      // BEP 27
	// Progress, unless nil, is told how many bytes of how many are hashed. It
	// is never called concurrently, and should return at once.
	Progress func(done, total int64)
	Workers  int // goroutines that hash; 0 means one for each processor
}

// ErrSpec is wrapped by the errors of Create that its CreateSpec is to blame
// for.
var ErrSpec = errors.New("cannot make a torrent of this")

// AutoPieceLength is the piece length that Create chooses for so many bytes of
// content: 16 KiB up to 2.6 MB, and twice as much for each fourfold size, so
// that the number of pieces and their length grow alike. It is libtorrent's
// rule, so equal content mostly gets equal torrents.
func AutoPieceLength(total int64) int64 {
	length, limit := int64(BlockSize), int64(1)<<28 // hundredths of a byte
	for total > (limit+50)/100 && length < DefaultPieceLength && limit < 1<<60 {
		length, limit = 2*length, 4*limit
	}
	return length
}

// Create hashes the files of spec, on all processors, and returns the torrent.
// It stops early when ctx is done. The files are sorted by path, so equal
// content gives equal info-hashes. What it returns has been parsed once.
func Create(ctx context.Context, spec CreateSpec) ([]byte, error) {
	data, err := create(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("create torrent: %w", err)
	}
	return data, nil
}

func create(ctx context.Context, spec CreateSpec) ([]byte, error) {
	c, err := newCreation(spec)
	if err != nil {
		return nil, err
	}
	h := newHasher(c)
	if err := h.run(ctx); err != nil {
		return nil, err
	}
	data, err := bencode.Encode(c.torrent(h))
	if err != nil {
		return nil, err
	}
	// A torrent that Parse refuses, and other clients with it, is of no use.
	if _, err := Parse(data, Limits{}); err != nil {
		return nil, fmt.Errorf("check what was made: %w", err)
	}
	return data, nil
}

// creation is a checked CreateSpec with the layout of the new torrent.
type creation struct {
	spec    CreateSpec
	sources []int      // index in spec.Files for each of layout.Files; -1 for pads
	targets [][]string // of links, by index in spec.Files, from the top-level entry down
	layout  Info       // Files (without names) and Geometry
	single  bool
}

func newCreation(spec CreateSpec) (*creation, error) {
	spec.Files = slices.Clone(spec.Files)
	c := &creation{spec: spec, single: len(spec.Files) == 1 && len(spec.Files[0].Path) == 0}
	if err := checkElement(spec.Name); err != nil {
		return nil, fmt.Errorf("name: %w", err)
	}
	if spec.Version < V1 || spec.Version > Hybrid {
		return nil, fmt.Errorf("%v: %w", spec.Version, ErrSpec)
	}
	slices.SortStableFunc(c.spec.Files, func(a, b SourceFile) int { return slices.Compare(a.Path, b.Path) })
	c.targets = make([][]string, len(spec.Files))
	var total int64
	for i := range c.spec.Files {
		f := &c.spec.Files[i]
		if err := c.check(i); err != nil {
			return nil, fmt.Errorf("file %.200q: %w", strings.Join(f.Path, "/"), err)
		}
		if f.Symlink == "" {
			if total += f.Length; total < 0 {
				return nil, fmt.Errorf("content exceeds 64 bits: %w", ErrSpec)
			}
		}
	}
	if total == 0 {
		return nil, ErrEmpty
	}
	if c.spec.PieceLength == 0 {
		c.spec.PieceLength = AutoPieceLength(total)
	}
	return c, c.lay()
}

// check checks one file of the sorted list.
func (c *creation) check(i int) error {
	f := &c.spec.Files[i]
	if f.Length < 0 {
		return fmt.Errorf("length %d: %w", f.Length, ErrSpec)
	}
	if len(f.Path) > maxPathDepth-8 { // the rest is for the dictionaries around the path
		return fmt.Errorf("path of %d elements: %w", len(f.Path), ErrLimit)
	}
	if len(f.Path) == 0 && !c.single {
		return fmt.Errorf("no path: %w", ErrSpec)
	}
	for _, e := range f.Path {
		if err := checkElement(e); err != nil {
			return err
		}
	}
	if i > 0 {
		last := c.spec.Files[i-1].Path
		if len(last) <= len(f.Path) && slices.Equal(last, f.Path[:len(last)]) {
			return fmt.Errorf("%w: another file has this path or is above it", ErrSpec)
		}
	}
	if f.Symlink != "" {
		return c.checkLink(i)
	}
	if f.Length > 0 && f.Open == nil {
		return fmt.Errorf("no way to open it: %w", ErrSpec)
	}
	return nil
}

func (c *creation) checkLink(i int) error {
	f := &c.spec.Files[i]
	if strings.HasPrefix(f.Symlink, "/") || c.single {
		return fmt.Errorf("link to %.200q: %w: not inside the torrent", f.Symlink, ErrSpec)
	}
	elems := append(slices.Clone(f.Path[:len(f.Path)-1]), strings.Split(f.Symlink, "/")...)
	target, ok := clean(elems)
	if !ok || len(target) == 0 {
		return fmt.Errorf("link to %.200q: %w: not inside the torrent", f.Symlink, ErrSpec)
	}
	c.targets[i] = target
	f.Length = 0
	return nil
}

func checkElement(e string) error {
	if e == "" || e == "." || e == ".." || strings.ContainsAny(e, "/\x00") {
		return fmt.Errorf("%.40q is no name: %w", e, ErrSpec)
	}
	return nil
}

// lay puts the files, and the pads between them, into the piece space.
func (c *creation) lay() error {
	length := c.spec.PieceLength
	lim := Limits{}.withDefaults()
	if err := lim.checkPieceLength(length, c.spec.Version.hasV2()); err != nil {
		return fmt.Errorf("%w: %w", err, ErrSpec)
	}
	if length%BlockSize != 0 { // such pieces work, but no client makes them, and some refuse them
		return fmt.Errorf("piece length: %d is no multiple of 16384: %w", length, ErrSpec)
	}
	align := c.spec.Align || c.spec.Version.hasV2()
	var off int64
	var pads []byteRange
	for i, f := range c.spec.Files {
		if gap := (length - off%length) % length; align && f.Length > 0 && gap > 0 {
			if c.spec.Version.hasV1() {
				c.layout.Files = append(c.layout.Files, File{Offset: off, Length: gap, Pad: true})
				c.sources = append(c.sources, -1)
				pads = append(pads, byteRange{off, off + gap})
			}
			off += gap
		}
		c.layout.Files = append(c.layout.Files, File{Offset: off, Length: f.Length})
		c.sources = append(c.sources, i)
		if off += f.Length; off < 0 {
			return fmt.Errorf("content exceeds 64 bits: %w", ErrSpec)
		}
	}
	if err := lim.checkSize(off, length); err != nil {
		return fmt.Errorf("%w: use longer pieces", err)
	}
	if n := ceilDiv(off, length) * int64(len(SHA1{})); c.spec.Version.hasV1() && n > lim.Bytes { // Parse would say so after hours of hashing
		return fmt.Errorf("%d bytes of piece hashes: %w of %d for a .torrent: use longer pieces", n, ErrLimit, lim.Bytes)
	}
	if c.spec.Version.hasV1() {
		c.layout.Geometry = streamGeometry(length, off, pads)
	} else {
		c.layout.Geometry = alignedGeometry(length, c.layout.Files)
	}
	return nil
}
