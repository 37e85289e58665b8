package cache

import (
	"bytes"
	"sync"
	"testing"

	"torrentfs/internal/crashfs"
	"torrentfs/metainfo"
)

// What a file is now is taken for known in the same step in which the trust in its pieces is withdrawn: a read that
// runs beside that step returns the right bytes or an error, never the file's new bytes.
func TestNoReadBesideWithdrawalReturnsForeignBytes(t *testing.T) {
	tor := foreignTorrents(t)["v1"]
	for range 60 {
		disk := crashfs.New()
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		for p := range tor.NumPieces() {
			tor.fetch(s, p)
		}
		syncStore(t, s)
		s.ord = s.cache.last.Add(1) // what is in memory is forgotten
		foreignChanges["overwritten, date put back"](t, disk)

		var start, wg sync.WaitGroup
		start.Add(1)
		for reader := range 4 {
			wg.Go(func() {
				buf := make([]byte, metainfo.BlockSize)
				start.Wait()
				for i := range 200 {
					b := metainfo.Block{Piece: (i + reader) % 8, Index: i % 4}
					off := int64(b.Piece)*foreignPiece + int64(b.Index)*metainfo.BlockSize
					if n, err := s.ReadAt(buf, off); err == nil && !bytes.Equal(buf[:n], tor.block(b.Piece, b.Index)) {
						t.Errorf("block %v: read the bytes of another program", b)
						return
					}
				}
			})
		}
		wg.Go(func() { start.Wait(); s.invalidateFile(0) })
		wg.Go(func() { start.Wait(); s.Invalidate(3, ErrChanged) })
		start.Done()
		wg.Wait()
		for p := range metainfo.Piece(8) {
			if s.Has(p) {
				t.Errorf("piece %d of the replaced file is still trusted", p)
			}
		}
		closeStore(t, s)
	}
}
