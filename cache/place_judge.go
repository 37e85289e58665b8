package cache

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
)

const (
	// enoughRight is how many right bytes make a file the torrent's.
	enoughRight = 16 << 10
	// enoughWrong is how many wrong pieces of a file are looked at.
	enoughWrong = 64
)

// look judges everything that lies under the files' names.
func (p *placing) look() error {
	p.standing, p.ids = make([]standing, len(p.names)), make([]vfs.FileID, len(p.names))
	p.whole, p.started, p.adopted = 0, false, moves{}
	dirs := directories{fs: p.s.fs, absent: map[string]bool{".": false}}
	for i := range p.info.Files {
		if !stored(&p.info.Files[i]) || dirs.lack(path.Dir(p.names[i])) {
			continue
		}
		if err := p.judge(i); err != nil {
			return err
		}
	}
	return nil
}

// judge finds out what lies under a file's name.
func (p *placing) judge(i int) error {
	f, name := &p.info.Files[i], p.names[i]
	st, err := p.s.fs.Lstat(name)
	if err != nil {
		return nil //nolint:nilerr // it cannot be read; if it cannot be written either, the disk says so
	}
	p.standing[i] = foreign
	if st.Mode&fs.ModeSymlink != 0 {
		if err := linkOut(p.s.fs, name); err != nil {
			return err
		}
	}
	if st.Mode.IsRegular() && p.known(i, st) { // also if nobody may read it now
		p.place(i, ours, st)
		return nil
	}
	h, err := p.s.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil //nolint:nilerr // what cannot be read is foreign
	}
	defer h.Close()
	if st, err = h.Stat(); err != nil {
		return nil
	}
	found := foreign
	switch {
	case p.known(i, st), p.s.opt.Hashes == nil:
		found = ours
	case st.Size == 0:
		found = blank
	case f.Length > 0:
		if found = p.recognise(i, h, st.Size); found == ours {
			p.adopted.add(name, "")
		}
	}
	p.place(i, found, st)
	return nil
}

// place notes what lies under a file's name.
func (p *placing) place(i int, found standing, st vfs.Info) {
	p.standing[i], p.ids[i] = found, st.ID()
	if st.Size == p.info.Files[i].Length && found != foreign {
		p.whole++
	}
}

// known reports whether the resume data has the file: it has the size and date
// that we left it with, also if it was copied, or it is the one that we wrote
// to when we did not get to a clean stop.
func (p *placing) known(i int, st vfs.Info) bool {
	if p.snap == nil || !p.trusted {
		return false
	}
	then, ino := p.snap.Files[i], p.snap.Inode(i)
	unsure := !p.snap.Clean || then.Size == resume.FileMissing
	same := then.Size == st.Size && then.MTime == st.MTime || unsure && ino != 0 && ino == st.Ino
	p.started = p.started || same
	return same
}

// recognise compares pieces of the file with the torrent's hashes.
func (p *placing) recognise(i int, h vfs.File, size int64) standing {
	f := &p.info.Files[i]
	n := min(size, f.Length)
	first, last := int(f.Offset/p.s.lay.pieceLen), int((f.Offset+n-1)/p.s.lay.pieceLen)
	right, wrong, unknown := int64(0), 0, false
	for k := range spread(last - first + 1) {
		piece := first + k
		off, length := p.s.lay.pieceRange(piece)
		from, to := max(off, f.Offset)-f.Offset, min(off+length, f.Offset+n)-f.Offset
		if onlyZeros(h, from, to-from) {
			continue
		}
		ok, known := p.right(piece)
		switch {
		case ok:
			if right += to - from; right >= min(enoughRight, n) {
				return ours
			}
		case known:
			if wrong++; wrong >= enoughWrong {
				return foreign
			}
		default:
			unknown = true
		}
	}
	if unknown {
		if whole, known := p.s.opt.Hashes.File(i, io.NewSectionReader(h, 0, n)); whole && known && size >= f.Length {
			return ours
		}
		return foreign
	}
	switch {
	case wrong > 0:
		return foreign
	case right > 0:
		return ours
	}
	return blank
}

// right asks for the verdict on a piece, once.
func (p *placing) right(piece int) (right, known bool) {
	if right, known = p.pieces[piece]; known {
		return right, true
	}
	r := &placedReader{p: p, piece: piece}
	defer r.close()
	right, known = p.s.opt.Hashes.Piece(piece, r)
	if known {
		p.pieces[piece] = right
	}
	return right, known
}

// spread yields the numbers below n in an order that looks at all parts soon.
func spread(n int) func(yield func(int) bool) {
	step := max(1, int(float64(n)*0.618))
	for gcd(step, n) != 1 {
		step++
	}
	return func(yield func(int) bool) {
		for i, k := 0, 0; i < n; i, k = i+1, (k+step)%n {
			if !yield(k) {
				return
			}
		}
	}
}

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

var noBytes [64 << 10]byte

// onlyZeros reports whether a range of a file holds nothing else. Holes are
// not read.
func onlyZeros(f vfs.File, off, n int64) bool {
	buf := make([]byte, len(noBytes))
	for end := off + n; off < end; {
		start, stop, err := f.NextData(off)
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			return false
		}
		for off = max(off, start); off < min(end, stop); {
			b := buf[:min(int64(len(buf)), min(end, stop)-off)]
			if k, err := f.ReadAt(b, off); k < len(b) && err != nil {
				return false
			}
			if !bytes.Equal(b, noBytes[:len(b)]) {
				return false
			}
			off += int64(len(b))
		}
	}
	return true
}

// placedReader reads a piece from the files as they are placed so far.
type placedReader struct {
	p     *placing
	piece int
	at    int64 // in the piece
	file  int
	f     vfs.File
}

func (r *placedReader) Read(b []byte) (int, error) {
	off, n := r.p.s.lay.pieceRange(r.piece)
	if r.at >= n {
		return 0, io.EOF
	}
	for part := range r.p.s.lay.parts(off+r.at, min(int64(len(b)), n-r.at)) {
		b = b[:part.n]
		if part.file < 0 {
			clear(b)
			r.at += part.n
			return len(b), nil
		}
		if r.f == nil || r.file != part.file {
			r.close()
			f, err := r.p.s.fs.OpenFile(r.p.names[part.file], os.O_RDONLY, 0)
			if err != nil {
				return 0, err
			}
			r.f, r.file = f, part.file
		}
		k, err := r.f.ReadAt(b, part.at)
		r.at += int64(k)
		if k == len(b) {
			return k, nil
		}
		return k, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return 0, io.EOF
}

func (r *placedReader) close() {
	if r.f != nil {
		_ = r.f.Close()
		r.f = nil
	}
}
