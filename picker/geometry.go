package picker

import "torrentfs/metainfo"

// blockID is piece*BlocksPerPiece + index: a block in a fourth of a metainfo.Block's memory, as rings of requests keep it.
type blockID uint32

// geometry is the torrent's division into pieces and blocks. Package metainfo bounds it so that each block has a blockID.
type geometry struct {
	metainfo.Geometry
	leaves bool // Config.LeafVerified
}

// id returns the number of a piece's block.
func (g *geometry) id(piece metainfo.Piece, index int) blockID {
	return blockID(uint32(piece)*uint32(g.BlocksPerPiece()) + uint32(index))
}

// split is the inverse of id.
func (g *geometry) split(b blockID) (piece metainfo.Piece, index int) {
	n := uint32(g.BlocksPerPiece())
	return metainfo.Piece(uint32(b) / n), int(uint32(b) % n)
}

// block is split for an Action.
func (g *geometry) block(b blockID) metainfo.Block {
	piece, index := g.split(b)
	return metainfo.Block{Piece: piece, Index: index}
}

func (g *geometry) hasPiece(piece metainfo.Piece) bool { return uint(piece) < uint(g.NumPieces()) }

func (g *geometry) hasBlock(b metainfo.Block) bool {
	return g.hasPiece(b.Piece) && uint(b.Index) < uint(g.NumBlocks(b.Piece))
}

// clip returns the part of a range within the torrent, as [off, end); it is empty where nothing is.
func (g *geometry) clip(r metainfo.ByteRange) (off, end int64) {
	off = min(max(r.Off, 0), g.Size())
	return off, off + min(max(r.Len, 0), g.Size()-off)
}

// pieceAfter is the first piece that begins at or after the byte at off; the number of pieces if none does.
func (g *geometry) pieceAfter(off int64) metainfo.Piece {
	return min(metainfo.Piece((off+g.PieceLength()-1)/g.PieceLength()), metainfo.Piece(g.NumPieces()))
}
