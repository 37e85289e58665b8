package swarm

import (
	"torrentfs/metainfo"
	"torrentfs/swarm/pieces"
)

// Duplicate is a file on this machine that is said to have the content of one of
// the torrent's files.
type Duplicate = pieces.Duplicate

// Offer tells of files on this machine whose pieces need not be downloaded. What
// the background wants is taken at once, else what is read. It is called once.
func (t *Torrent) Offer(offered []Duplicate) error {
	if len(offered) == 0 || t.trees == nil {
		return nil
	}
	return t.call(func() {
		t.ledger.Offer(offered)
		for _, d := range t.reads.waiting {
			t.apply(t.ledger.Claim(t.info.PieceOf(d.off), t.info.PieceOf(d.off+int64(d.n)-1)))
		}
		t.apply(t.ledger.ClaimWanted())
	})
}

// wants reports whether the background download is to fetch a piece.
func (t *Torrent) wants(piece metainfo.Piece) bool {
	if t.cfg.Want == nil {
		return true
	}
	from := int64(piece) * t.info.PieceLength()
	for _, r := range t.cfg.Want {
		if r.Off < from+t.info.PieceLength() && from < r.Off+r.Len {
			return true
		}
	}
	return false
}
