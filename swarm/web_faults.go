package swarm

import (
	"torrentfs/metainfo"

	"torrentfs/internal/bitset"
)

// A file on a web server may be another one than the torrent's, while all others are
// right: the usual state of servers whose content is edited. So wrong data is held
// against the pieces of one file first, and against the server only when more than
// that is wrong.
const (
	webFileFaults = 2  // wrong pieces of a file, more than right ones, after which no piece of it is asked for
	webStrikes    = 4  // wrong pieces, beside those of files given up, after which a server that sent no right one is banned
	webMostFaults = 64 // the same for one that did, if they are more than the right ones
)

// webFaults is what a web server's data was found to be. The loop owns it.
type webFaults struct {
	lost    bitset.Set // pieces that are not asked for; nil: none
	files   map[int]*fileFaults
	right   int // pieces that it sent alone and that were right
	strikes int // wrong pieces, of files that were not given up before
}

type fileFaults struct {
	right, wrong int
	lost         bool
}

// webFiles calls f with the index of each file that has bytes in a piece.
func webFiles(info *metainfo.Info, piece int, f func(file int)) {
	for s := range info.Spans(int64(piece)*info.PieceLength(), info.PieceSize(piece)) {
		if !info.Files[s.File].Pad {
			f(s.File)
		}
	}
}

func (w *webFaults) file(i int) *fileFaults {
	if w.files == nil {
		w.files = map[int]*fileFaults{}
	}
	if w.files[i] == nil {
		w.files[i] = new(fileFaults)
	}
	return w.files[i]
}

// passed notes a piece that the server sent alone and that was right.
func (w *webFaults) passed(info *metainfo.Info, piece int) {
	w.right++
	webFiles(info, piece, func(file int) { w.file(file).right++ })
}

// failed notes a piece in which the server sent wrong data, and returns the pieces
// that it is not to be asked for any more, the files that are given up by that, and
// whether the server is of no use at all.
func (w *webFaults) failed(info *metainfo.Info, piece int) (pieces, files []int, ban bool) {
	if w.lost == nil {
		w.lost = bitset.New(info.NumPieces())
	}
	if w.lost.Has(piece) {
		return nil, nil, false // one more block of it, or asked for before its file was given up
	}
	lose := func(p int) {
		if w.lost.Set(p) {
			pieces = append(pieces, p)
		}
	}
	lose(piece)
	w.strikes++
	var in []int
	webFiles(info, piece, func(file int) { in = append(in, file) })
	if len(in) == 1 {
		f := w.file(in[0])
		if f.wrong++; !f.lost && f.wrong >= webFileFaults && f.wrong > f.right {
			f.lost = true
			files = append(files, in[0])
			at := &info.Files[in[0]]
			for p := info.PieceOf(at.Offset); p <= info.PieceOf(at.Offset+at.Length-1); p++ {
				lose(p)
			}
		}
	}
	ban = w.lost.Count() == info.NumPieces() || w.strikes >= webStrikes && w.right == 0 || w.strikes > webMostFaults && w.strikes > w.right
	return pieces, files, ban
}
