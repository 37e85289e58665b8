package smartban

import (
	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// A file on a web server may be another one than the torrent's, while all others are right: the usual state of servers
// whose content is edited. So wrong data is held against the pieces of one file first, and against the server only when
// more than that is wrong.
const (
	fileFaults = 2  // wrong pieces of a file, more than right ones, after which no piece of it is asked for
	maxStrikes = 4  // wrong pieces, beside those of files given up, after which a server that sent no right one is banned
	mostFaults = 64 // the same for one that did, if they are more than the right ones
)

// Server is what a web server's data was found to be. Its zero value is a server of which nothing is known.
type Server struct {
	lost    bitset.Set // pieces that are not asked for; nil: none
	files   map[int]*serverFile
	right   int // pieces that it sent alone and that were right
	strikes int // wrong pieces, of files that were not given up before
}

type serverFile struct {
	right, wrong int
	lost         bool
}

// Lacks reports whether the server is not to be asked for a piece.
func (s *Server) Lacks(piece metainfo.Piece) bool { return s.lost != nil && s.lost.Has(piece) }

// filesIn calls f with the index of each file that has bytes in a piece.
func filesIn(info *metainfo.Info, piece metainfo.Piece, f func(file int)) {
	for span := range info.Spans(int64(piece)*info.PieceLength(), info.PieceSize(piece)) {
		if !info.Files[span.File].Pad {
			f(span.File)
		}
	}
}

func (s *Server) file(i int) *serverFile {
	if s.files == nil {
		s.files = map[int]*serverFile{}
	}
	if s.files[i] == nil {
		s.files[i] = new(serverFile)
	}
	return s.files[i]
}

// Passed notes a piece that the server sent alone and that was right.
func (s *Server) Passed(info *metainfo.Info, piece metainfo.Piece) {
	s.right++
	filesIn(info, piece, func(file int) { s.file(file).right++ })
}

// Failed notes a piece in which the server sent wrong data, and returns the pieces
// that it is not to be asked for any more, the files that are given up by that, and
// whether the server is of no use at all.
func (s *Server) Failed(info *metainfo.Info, piece metainfo.Piece) (pieces []metainfo.Piece, files []int, ban bool) {
	if s.lost == nil {
		s.lost = bitset.New(info.NumPieces())
	}
	if s.lost.Has(piece) {
		return nil, nil, false // one more block of it, or asked for before its file was given up
	}
	lose := func(p metainfo.Piece) {
		if s.lost.Set(p) {
			pieces = append(pieces, p)
		}
	}
	lose(piece)
	s.strikes++
	var in []int
	filesIn(info, piece, func(file int) { in = append(in, file) })
	if len(in) == 1 {
		f := s.file(in[0])
		if f.wrong++; !f.lost && f.wrong >= fileFaults && f.wrong > f.right {
			f.lost = true
			files = append(files, in[0])
			at := &info.Files[in[0]]
			for p := info.PieceOf(at.Offset); p <= info.PieceOf(at.Offset+at.Length-1); p++ {
				lose(p)
			}
		}
	}
	ban = s.lost.Count() == info.NumPieces() || s.strikes >= maxStrikes && s.right == 0 || s.strikes > mostFaults && s.strikes > s.right
	return pieces, files, ban
}
